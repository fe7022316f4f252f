//! `VM.*`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schema::{
    CallContext, Done, Str, VdsmError, VmApi,
    vm::{
        Cont, Create, Destroy, GetInfo, GetStats, Pause, Reset, Screenshot, Shutdown,
        TakeScreenshot, VmListAnswer, VmParams, VmStats, VmSummary,
    },
};
use vm::{CreateRequest, ShutdownRequest, VmError};

use super::{Answer, vm_stats, words};
use crate::{agent::Agent, errors};

impl VmApi for Agent {
    fn vm_create(&self, _: &CallContext, p: Create) -> Answer<VmSummary> {
        refuse_what_is_not_built(&p.params)?;
        let xml = p
            .params
            .xml
            .ok_or(VmError::MissingParameter("xml"))
            .map_err(errors::vm)?;
        let request = CreateRequest {
            vm_id: Some(p.vm_id),
            xml: xml.expose().to_owned(),
            launch_paused: p.params.launch_paused.is_some_and(|paused| paused.0),
        };
        let answer = self.vms.create(request).map_err(errors::vm)?;
        Ok(VmSummary {
            xml: Some(xml.masked()),
            ..words::summary(&answer.info)
        })
    }

    fn vm_get_info(&self, _: &CallContext, p: GetInfo) -> Answer<VmSummary> {
        self.vms
            .info(p.vm_id)
            .map(|info| words::summary(&info))
            .map_err(errors::vm)
    }

    fn vm_get_stats(&self, _: &CallContext, p: GetStats) -> Answer<Vec<VmStats>> {
        let stats = self.vms.stats(p.vm_id).map_err(errors::vm)?;
        Ok(vec![vm_stats::stats(stats)])
    }

    fn vm_pause(&self, _: &CallContext, p: Pause) -> Answer<VmListAnswer> {
        self.vms.pause(p.vm_id).map_err(errors::vm)?;
        Ok(nothing())
    }

    fn vm_cont(&self, _: &CallContext, p: Cont) -> Answer<VmListAnswer> {
        self.vms.cont(p.vm_id).map_err(errors::vm)?;
        Ok(nothing())
    }

    fn vm_shutdown(&self, _: &CallContext, p: Shutdown) -> Answer<Done> {
        let vars = &self.config.vars;
        let request = ShutdownRequest {
            delay: words::seconds(p.delay.map(|Str(it)| it), vars.user_shutdown_timeout),
            message: p.message.unwrap_or_default(),
            reboot: p.reboot,
            timeout: words::seconds(p.timeout.map(|Str(it)| it), vars.sys_shutdown_timeout),
            force: p.force,
        };
        self.vms
            .shutdown(p.vm_id, request)
            .map(|()| Done)
            .map_err(errors::vm)
    }

    fn vm_destroy(&self, _: &CallContext, p: Destroy) -> Answer<Done> {
        self.vms
            .destroy(p.vm_id, p.graceful_attempts)
            .map(|()| Done)
            .map_err(errors::vm)
    }

    fn vm_reset(&self, _: &CallContext, p: Reset) -> Answer<Done> {
        self.vms.reset(p.vm_id).map(|()| Done).map_err(errors::vm)
    }

    fn vm_screenshot(&self, _: &CallContext, p: TakeScreenshot) -> Answer<Screenshot> {
        let picture = self.vms.screenshot(p.vm_id).map_err(errors::vm)?;
        let (mime_type, data) = as_png(picture)?;
        Ok(Screenshot {
            data: STANDARD.encode(data),
            encoding: "base64".to_owned(),
            mime_type,
        })
    }
}

/// What would be lost in silence is refused: a suspended guest would boot anew, a TPM come up empty.
fn refuse_what_is_not_built(params: &VmParams) -> Answer<()> {
    let given = [
        ("memoryDumpVolume", params.memory_dump_volume.is_some()),
        ("_X_tpmdata", params.tpm_data.is_some()),
        ("_X_nvramdata", params.nvram_data.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(errors::vm(VmError::NotBuilt(format!(
            "{name} of VM.create"
        )))),
        None => Ok(()),
    }
}

fn nothing() -> VmListAnswer {
    VmListAnswer {
        vm_list: std::collections::BTreeMap::new(),
    }
}

/// QEMU below 7.1 and libvirt below 8.9 make portable pixmaps; Engine shows what browsers can: PNG.
fn as_png(picture: vm::Screenshot) -> Answer<(String, Vec<u8>)> {
    if picture.mime != "image/x-portable-pixmap" {
        return Ok((picture.mime, picture.data));
    }
    let png = crate::ports::png::from_ppm(&picture.data);
    let png = png.map_err(|why| VdsmError::internal(&format!("screenshot: {why}")))?;
    Ok(("image/png".to_owned(), png))
}
