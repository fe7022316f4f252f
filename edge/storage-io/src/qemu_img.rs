//! The port `QemuImg`: upstream's argument lists (`storage/qemuimg.py`), reports parsed.

use std::{ffi::OsString, path::Path, time::Duration};

use exec::{ExecError, qemu_img::Call};
use serde::Deserialize;
use storage_model::ports::{CreateImage, ImageInfo, Measure, QemuImg, QemuImgError};

/// Compat level of new qcow2 images if none is asked for (upstream `irs.qcow2_compat`).
const DEFAULT_COMPAT: &str = "1.1";

/// Compat levels that exist.
const COMPATS: [&str; 2] = ["0.10", "1.1"];

/// `qemu-img` as a program.
#[derive(Debug, Clone)]
pub struct QemuImgTool {
    timeout: Duration,
}

impl Default for QemuImgTool {
    fn default() -> Self {
        Self::new(Duration::from_mins(1))
    }
}

impl QemuImgTool {
    /// With this deadline for each call.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    fn call(&self, args: Vec<OsString>) -> Call {
        Call::new(args).timeout(self.timeout)
    }
}

/// Runs a call of which only success is wanted.
fn run(verb: &str, call: Call) -> Result<(), QemuImgError> {
    call.run()
        .and_then(exec::Output::check)
        .map(drop)
        .map_err(|error| failure(verb, &error))
}

/// Runs a call and parses its report.
fn report<T: for<'de> Deserialize<'de>>(verb: &str, call: Call) -> Result<T, QemuImgError> {
    let json = call.json().map_err(|error| failure(verb, &error))?;
    parse(verb, &json)
}

impl QemuImg for QemuImgTool {
    fn create(&self, request: &CreateImage) -> Result<(), QemuImgError> {
        let mut call = self.call(create_args(request)?);
        let relative = request
            .backing
            .as_ref()
            .is_some_and(|(name, _)| !name.starts_with('/'));
        if let Some(dir) = request.path.parent().filter(|_| relative) {
            call = call.cwd(dir);
        }
        run("create", call)
    }

    fn info(&self, path: &Path, trusted_format: Option<&str>) -> Result<ImageInfo, QemuImgError> {
        let mut call = self.call(info_args(path, trusted_format)?);
        if trusted_format.is_none() {
            call = call.untrusted();
        }
        report::<InfoReport>("info", call).map(InfoReport::into_info)
    }

    fn measure(
        &self,
        path: &Path,
        format: &str,
        target: &str,
        backing: bool,
    ) -> Result<Measure, QemuImgError> {
        let call = self.call(measure_args(path, format, target, backing)?);
        let report: MeasureReport = report("measure", call)?;
        Ok(Measure {
            required: report.required,
            fully_allocated: report.fully_allocated,
            bitmaps: report.bitmaps,
        })
    }

    fn resize(&self, path: &Path, format: &str, size: u64) -> Result<(), QemuImgError> {
        check_format("resize", format)?;
        let mut args = words(&["resize", "-f", format]);
        args.extend([path_arg("resize", path)?, size.to_string().into()]);
        run("resize", self.call(args))
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn broken(verb: &str, why: impl Into<String>) -> QemuImgError {
    QemuImgError::Broken {
        verb: verb.to_owned(),
        why: why.into(),
    }
}

/// A path that `qemu-img` takes as a path: a relative one could be read as an option or a protocol.
fn path_arg(verb: &str, path: &Path) -> Result<OsString, QemuImgError> {
    if path.is_absolute() {
        return Ok(path.as_os_str().to_owned());
    }
    Err(broken(
        verb,
        format!("{} is not an absolute path", path.display()),
    ))
}

fn check_format(verb: &str, format: &str) -> Result<(), QemuImgError> {
    if matches!(format, "raw" | "qcow2") {
        return Ok(());
    }
    Err(broken(
        verb,
        format!("{format:?} is not a format of volumes"),
    ))
}

fn create_args(request: &CreateImage) -> Result<Vec<OsString>, QemuImgError> {
    check_format("create", &request.format)?;
    let mut args = words(&["create", "-f", &request.format]);
    if request.format == "qcow2" {
        let compat = request.compat.as_deref().unwrap_or(DEFAULT_COMPAT);
        if !COMPATS.contains(&compat) {
            return Err(broken(
                "create",
                format!("{compat:?} is not a compat level"),
            ));
        }
        args.extend(words(&["-o", &format!("compat={compat}")]));
    }
    if let Some((name, format)) = &request.backing {
        check_format("create", format)?;
        args.extend(words(&["-b", name, "-F", format, "-u"]));
    }
    args.extend([
        path_arg("create", &request.path)?,
        request.size.to_string().into(),
    ]);
    Ok(args)
}

fn info_args(path: &Path, format: Option<&str>) -> Result<Vec<OsString>, QemuImgError> {
    let mut args = words(&["info", "--output", "json"]);
    if let Some(format) = format {
        check_format("info", format)?;
        args.extend(words(&["-f", format]));
    }
    args.extend([OsString::from("-U"), path_arg("info", path)?]);
    Ok(args)
}

fn measure_args(
    path: &Path,
    format: &str,
    target: &str,
    backing: bool,
) -> Result<Vec<OsString>, QemuImgError> {
    check_format("measure", format)?;
    check_format("measure", target)?;
    let file_name = path_arg("measure", path)?;
    let file_name = file_name
        .to_str()
        .ok_or_else(|| broken("measure", "the path is not UTF-8"))?;
    let protocol = if path.starts_with("/dev") {
        "host_device"
    } else {
        "file"
    };
    let file = serde_json::json!({"driver": protocol, "filename": file_name});
    let node = if format == "qcow2" && !backing {
        serde_json::json!({"file": file, "driver": format, "backing": null})
    } else {
        serde_json::json!({"file": file, "driver": format})
    };
    let mut args = words(&["measure", "--output", "json", "--force-share", "-O", target]);
    args.push(format!("json:{node}").into());
    Ok(args)
}

#[derive(Debug, Deserialize)]
struct InfoReport {
    format: String,
    #[serde(rename = "virtual-size")]
    virtual_size: u64,
    #[serde(rename = "actual-size", default)]
    actual_size: u64,
    #[serde(rename = "backing-filename")]
    backing_file: Option<String>,
    #[serde(rename = "cluster-size")]
    cluster_size: Option<u64>,
    #[serde(rename = "format-specific")]
    specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Specific {
    data: Option<SpecificData>,
}

#[derive(Debug, Deserialize)]
struct SpecificData {
    compat: Option<String>,
}

#[derive(Debug, Deserialize)]
struct MeasureReport {
    required: u64,
    #[serde(rename = "fully-allocated")]
    fully_allocated: u64,
    bitmaps: Option<u64>,
}

impl InfoReport {
    fn into_info(self) -> ImageInfo {
        ImageInfo {
            format: self.format,
            virtual_size: self.virtual_size,
            actual_size: self.actual_size,
            backing_file: self.backing_file,
            cluster_size: self.cluster_size,
            compat: self.specific.and_then(|specific| specific.data?.compat),
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(verb: &str, json: &[u8]) -> Result<T, QemuImgError> {
    serde_json::from_slice(json).map_err(|error| broken(verb, format!("odd report: {error}")))
}

fn failure(verb: &str, error: &ExecError) -> QemuImgError {
    let verb = verb.to_owned();
    match error {
        ExecError::Failed { exit, stderr, .. } => QemuImgError::Failed {
            verb,
            code: exit.code(),
            stderr: stderr.clone(),
        },
        ExecError::TimedOut { .. } => QemuImgError::TimedOut { verb },
        other => QemuImgError::Broken {
            verb,
            why: with_source(other),
        },
    }
}

/// An error and what caused it, in one line.
fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn request(format: &str) -> CreateImage {
        CreateImage {
            path: PathBuf::from("/dom/images/i/v"),
            format: format.into(),
            size: 1_073_741_824,
            backing: None,
            compat: None,
        }
    }

    fn joined(args: Result<Vec<OsString>, QemuImgError>) -> String {
        let args = args.unwrap();
        args.iter()
            .map(|arg| arg.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// As `qemuimg.py` builds them.
    #[test]
    fn argument_lists() {
        assert_eq!(
            joined(create_args(&request("raw"))),
            "create -f raw /dom/images/i/v 1073741824"
        );
        let cow = CreateImage {
            backing: Some(("parent".into(), "raw".into())),
            compat: Some("0.10".into()),
            ..request("qcow2")
        };
        let wanted =
            "create -f qcow2 -o compat=0.10 -b parent -F raw -u /dom/images/i/v 1073741824";
        assert_eq!(joined(create_args(&cow)), wanted);
        let path = Path::new("/v");
        assert_eq!(
            joined(info_args(path, Some("qcow2"))),
            "info --output json -f qcow2 -U /v"
        );
        assert_eq!(joined(info_args(path, None)), "info --output json -U /v");
        let wanted = r#"measure --output json --force-share -O qcow2 json:{"file":{"driver":"file","filename":"/v"},"driver":"qcow2","backing":null}"#;
        assert_eq!(joined(measure_args(path, "qcow2", "qcow2", false)), wanted);
        let wanted = r#"measure --output json --force-share -O raw json:{"file":{"driver":"host_device","filename":"/dev/x"},"driver":"raw"}"#;
        assert_eq!(
            joined(measure_args(Path::new("/dev/x"), "raw", "raw", true)),
            wanted
        );
    }

    #[test]
    fn what_is_no_format_path_or_level_is_refused_before_anything_runs() {
        let odd = [
            create_args(&request("vmdk")),
            create_args(&CreateImage {
                compat: Some("2".into()),
                ..request("qcow2")
            }),
            create_args(&CreateImage {
                path: "rel".into(),
                ..request("raw")
            }),
            create_args(&CreateImage {
                backing: Some(("p".into(), "vdi".into())),
                ..request("qcow2")
            }),
            info_args(Path::new("nbd:x"), None),
            info_args(Path::new("/v"), Some("vmdk")),
        ];
        for args in odd {
            assert!(matches!(args, Err(QemuImgError::Broken { .. })), "{args:?}");
        }
    }

    #[test]
    fn reports() {
        let json = br#"{"virtual-size":65536,"filename":"v","cluster-size":65536,"format":"qcow2",
            "actual-size":200704,"format-specific":{"type":"qcow2","data":{"compat":"1.1",
            "lazy-refcounts":false}},"backing-filename":"parent","dirty-flag":false,"new-key":[1]}"#;
        let info = parse::<InfoReport>("info", json).unwrap().into_info();
        let wanted = ImageInfo {
            format: "qcow2".into(),
            virtual_size: 65536,
            actual_size: 200_704,
            backing_file: Some("parent".into()),
            cluster_size: Some(65536),
            compat: Some("1.1".into()),
        };
        assert_eq!(info, wanted);
        assert!(parse::<InfoReport>("info", br#"{"format":"raw"}"#).is_err());
        let measure: MeasureReport =
            parse("measure", br#"{"required":1,"fully-allocated":2}"#).unwrap();
        assert_eq!(
            (measure.required, measure.fully_allocated, measure.bitmaps),
            (1, 2, None)
        );
    }

    proptest! {
        #[test]
        fn any_report_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse::<InfoReport>("info", &bytes);
            let _ = parse::<MeasureReport>("measure", &bytes);
        }
    }

    fn installed() -> bool {
        let found = exec::command::find("qemu-img").is_some();
        if !found {
            println!("skipped: qemu-img is not installed");
        }
        found
    }

    #[test]
    fn a_chain_made_by_the_real_program() {
        if !installed() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let tool = QemuImgTool::default();
        let at = |name: &str| dir.path().join(name);
        let base = CreateImage {
            path: at("base"),
            size: 1 << 20,
            ..request("raw")
        };
        tool.create(&base).unwrap();
        let info = tool.info(&at("base"), Some("raw")).unwrap();
        assert_eq!(
            (info.format.as_str(), info.virtual_size, info.compat),
            ("raw", 1 << 20, None)
        );
        let top = CreateImage {
            path: at("top"),
            size: 2 << 20,
            backing: Some(("base".into(), "raw".into())),
            ..request("qcow2")
        };
        tool.create(&top).unwrap();
        let info = tool.info(&at("top"), None).unwrap();
        assert_eq!(
            info.backing_file.as_deref(),
            Some("base"),
            "the name is stored as given"
        );
        assert_eq!(
            (info.virtual_size, info.compat.as_deref()),
            (2 << 20, Some("1.1"))
        );
        tool.resize(&at("top"), "qcow2", 4 << 20).unwrap();
        assert_eq!(
            tool.info(&at("top"), Some("qcow2")).unwrap().virtual_size,
            4 << 20
        );
        let shrink = tool.resize(&at("top"), "qcow2", 1 << 20);
        assert!(
            matches!(shrink, Err(QemuImgError::Failed { code: 1, .. })),
            "{shrink:?}"
        );
        let alone = tool.measure(&at("top"), "qcow2", "qcow2", false).unwrap();
        assert!(alone.required > 0 && alone.fully_allocated > 4 << 20);
        std::fs::remove_file(at("base")).unwrap();
        assert!(
            tool.measure(&at("top"), "qcow2", "qcow2", false).is_ok(),
            "no chain needed"
        );
        let missing = CreateImage {
            path: at("more"),
            ..top
        };
        tool.create(&missing).unwrap();
    }

    #[test]
    fn failures_carry_the_programs_words() {
        if !installed() {
            return;
        }
        let error = QemuImgTool::default()
            .info(Path::new("/no/such"), Some("raw"))
            .unwrap_err();
        let QemuImgError::Failed {
            verb,
            code: 1,
            stderr,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(
            verb == "info" && stderr.contains("No such file"),
            "{stderr}"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("v"), b"not an image at all").unwrap();
        let error = QemuImgTool::default()
            .info(&dir.path().join("v"), Some("qcow2"))
            .unwrap_err();
        assert!(matches!(error, QemuImgError::Failed { .. }), "{error:?}");
        let quick = QemuImgTool::new(Duration::ZERO)
            .info(Path::new("/no/such"), None)
            .unwrap_err();
        assert!(matches!(quick, QemuImgError::TimedOut { .. }), "{quick:?}");
    }
}
