//! Owns: the records of bulk statistics and their typed parameters, freed with the list that holds them.

use std::{ffi::CStr, marker::PhantomData, mem::MaybeUninit};

use uuid::Uuid;
use virt_sys::{_virDomainStatsRecord, virDomainStatsRecordPtr, virTypedParameter};

use super::{check, conn::Conn, copy_str, domain::uuid_of, failure::SysResult};

/// Value of a typed parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// `int`, `llong`.
    Signed(i64),
    /// `uint`, `ullong`.
    Unsigned(u64),
    /// `double`.
    Double(f64),
    /// `boolean`.
    Bool(bool),
    /// `string`.
    Text(&'a str),
}

/// Answer of `virConnectGetAllDomainStats`.
pub(crate) struct Records<'c> {
    list: *mut virDomainStatsRecordPtr,
    len: usize,
    _conn: PhantomData<&'c Conn>,
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        // SAFETY: NULL or a list from libvirt, ended by NULL, that is ours and freed once, with its records, their
        // parameters and domains.
        unsafe { virt_sys::virDomainStatsRecordListFree(self.list) };
    }
}

impl Conn {
    /// Statistics of all domains that `flags` choose (`virConnectGetAllDomainStatsFlags`); `groups` are
    /// `virDomainStatsTypes`.
    pub(crate) fn domain_stats(&self, groups: u32, flags: u32) -> SysResult<Records<'_>> {
        let mut list = std::ptr::null_mut();
        // SAFETY: the connection is open; the list's pointer is written to a place of ours.
        let len = check(unsafe {
            virt_sys::virConnectGetAllDomainStats(self.ptr(), groups, &raw mut list, flags)
        })?;
        Ok(Records {
            list,
            len: len.unsigned_abs() as usize,
            _conn: PhantomData,
        })
    }
}

impl Records<'_> {
    /// The records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        // SAFETY: the list holds `len` pointers to records that live as long as the list.
        (0..self.len)
            .filter_map(|index| unsafe { (*self.list.add(index)).as_ref() })
            .map(Record)
    }
}

/// One domain's record.
pub(crate) struct Record<'r>(&'r _virDomainStatsRecord);

impl<'r> Record<'r> {
    /// The domain.
    pub(crate) fn id(&self) -> SysResult<Uuid> {
        // SAFETY: the record holds a reference on its domain.
        unsafe { uuid_of(self.0.dom) }
    }

    /// The domain's name.
    pub(crate) fn name(&self) -> String {
        // SAFETY: the record holds a reference on its domain, which keeps its name.
        unsafe { copy_str(virt_sys::virDomainGetName(self.0.dom)) }
    }

    /// True where the domain's monitor is free. Where the driver cannot tell, it is.
    pub(crate) fn monitor_is_free(&self) -> bool {
        let mut info = MaybeUninit::<virt_sys::virDomainControlInfo>::zeroed();
        // SAFETY: the record holds a reference on its domain; the struct is of the right type and ours.
        let answer = unsafe { virt_sys::virDomainGetControlInfo(self.0.dom, info.as_mut_ptr(), 0) };
        // SAFETY: plain numbers, for which zeroes are valid.
        answer < 0 || unsafe { info.assume_init() }.state == virt_sys::VIR_DOMAIN_CONTROL_OK
    }

    /// Its parameters; those whose name or text is not UTF-8 are left out.
    pub(crate) fn params(&self) -> impl Iterator<Item = (&'r str, Value<'r>)> + use<'r> {
        let len = if self.0.params.is_null() {
            0
        } else {
            usize::try_from(self.0.nparams).unwrap_or(0)
        };
        let first = self.0.params;
        // SAFETY: the array holds `nparams` parameters that live as long as the record.
        (0..len).filter_map(move |index| param(unsafe { &*first.add(index) }))
    }
}

fn param(param: &virTypedParameter) -> Option<(&str, Value<'_>)> {
    // SAFETY: an array of `c_char` read as bytes of the same size.
    let field =
        unsafe { std::slice::from_raw_parts(param.field.as_ptr().cast::<u8>(), param.field.len()) };
    let field = CStr::from_bytes_until_nul(field).ok()?.to_str().ok()?;
    let value = &param.value;
    // SAFETY: for all reads of the union: `type_` says which member libvirt wrote.
    let value = unsafe {
        match param.type_.unsigned_abs() {
            virt_sys::VIR_TYPED_PARAM_INT => Value::Signed(value.i.into()),
            virt_sys::VIR_TYPED_PARAM_UINT => Value::Unsigned(value.ui.into()),
            virt_sys::VIR_TYPED_PARAM_LLONG => Value::Signed(value.l),
            virt_sys::VIR_TYPED_PARAM_ULLONG => Value::Unsigned(value.ul),
            virt_sys::VIR_TYPED_PARAM_DOUBLE => Value::Double(value.d),
            virt_sys::VIR_TYPED_PARAM_BOOLEAN => Value::Bool(value.b != 0),
            virt_sys::VIR_TYPED_PARAM_STRING if !value.s.is_null() => {
                Value::Text(CStr::from_ptr(value.s).to_str().ok()?)
            }
            _ => return None,
        }
    };
    Some((field, value))
}
