//! NetworkManager over D-Bus, bounded whatever hangs: it, the bus, or the library.

use std::{
    collections::HashMap,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use net_model::IfName;
use zbus::{
    blocking::{Connection, Proxy, connection::Builder, fdo::DBusProxy, proxy},
    zvariant::{OwnedObjectPath, OwnedValue},
};

const NAME: &str = "org.freedesktop.NetworkManager";
const ROOT: &str = "/org/freedesktop/NetworkManager";
const OBJECTS: &str = "/org/freedesktop";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
/// `NM_DEVICE_STATE_UNMANAGED`.
const UNMANAGED: u32 = 10;
/// `NM_MANAGER_RELOAD_FLAG_CONF`: its configuration files alone.
const CONF: u32 = 1;
/// Between two looks whether it has let go.
const PAUSE: Duration = Duration::from_millis(50);

/// Has it let these go and takes those back, then read its files again. Answers which it let go just now; none, if it
/// does not run. It is never started by being asked.
pub(super) fn tell(
    take: &[IfName],
    give: &[IfName],
    until: Instant,
) -> Result<Vec<IfName>, String> {
    let left = until.saturating_duration_since(Instant::now());
    let (tell, hear) = channel();
    let (take, give) = (take.to_vec(), give.to_vec());
    let talk = move || {
        let _ = tell.send(talk(&take, &give, until));
    };
    // On a thread of its own: if the bus hangs while it greets, nothing else bounds it. Then the thread stays.
    let thread = thread::Builder::new().name("networkmanager".to_owned());
    let thread = thread.spawn(talk).map_err(|error| error.to_string())?;
    match hear.recv_timeout(left) {
        Ok(result) => {
            let _ = thread.join();
            result
        }
        Err(RecvTimeoutError::Timeout) => Err("it does not answer in time".to_owned()),
        Err(RecvTimeoutError::Disconnected) => Err("the conversation broke off".to_owned()),
    }
}

fn talk(take: &[IfName], give: &[IfName], until: Instant) -> Result<Vec<IfName>, String> {
    let left = until.saturating_duration_since(Instant::now());
    // No bus: then nobody is on it.
    let Ok(bus) = Builder::system().and_then(|it| it.method_timeout(left).build()) else {
        return Ok(Vec::new());
    };
    if !runs(&bus)? {
        return Ok(Vec::new());
    }
    let all = devices(&bus)?;
    let mut let_go = Vec::new();
    for name in take {
        if let Some(found) = all.get(name.as_str())
            && found.managed
        {
            let device = device(&bus, found)?;
            release(&device, until).map_err(|why| format!("{name}: {why}"))?;
            let_go.push(name.clone());
        }
    }
    let manager = Proxy::new(&bus, NAME, ROOT, NAME).map_err(words)?;
    let () = manager.call("Reload", &CONF).map_err(words)?;
    for found in give.iter().filter_map(|name| all.get(name.as_str())) {
        let device = device(&bus, found)?;
        device.set_property("Managed", true).map_err(words)?;
    }
    Ok(let_go)
}

/// A device as NetworkManager knows it.
struct Found {
    path: OwnedObjectPath,
    managed: bool,
}

/// Interfaces and properties of every object: `a{oa{sa{sv}}}`.
type Objects = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedValue>>>;

/// All devices by their names, in one message.
fn devices(bus: &Connection) -> Result<HashMap<String, Found>, String> {
    let objects = "org.freedesktop.DBus.ObjectManager";
    let objects = Proxy::new(bus, NAME, OBJECTS, objects).map_err(words)?;
    let objects: Objects = objects.call("GetManagedObjects", &()).map_err(words)?;
    let mut all = HashMap::new();
    for (path, mut interfaces) in objects {
        let Some(mut device) = interfaces.remove(DEVICE) else {
            continue;
        };
        let name = device.remove("Interface").map(String::try_from);
        let managed = device.remove("Managed").map(bool::try_from);
        if let (Some(Ok(name)), Some(Ok(managed))) = (name, managed) {
            all.insert(name, Found { path, managed });
        }
    }
    Ok(all)
}

fn runs(bus: &Connection) -> Result<bool, String> {
    let names = DBusProxy::new(bus).map_err(words)?;
    let name = NAME.try_into().map_err(words)?;
    names.name_has_owner(name).map_err(words)
}

fn device(bus: &Connection, found: &Found) -> Result<Proxy<'static>, String> {
    let builder: proxy::Builder<'static, Proxy<'static>> = proxy::Builder::new(bus);
    let device = builder
        .destination(NAME)
        .and_then(|it| it.path(found.path.clone()))
        .and_then(|it| it.interface(DEVICE))
        // Each look is a look.
        .map(|it| it.cache_properties(zbus::proxy::CacheProperties::No))
        .and_then(proxy::Builder::build);
    device.map_err(words)
}

/// It is not managed when this returns.
fn release(device: &Proxy<'_>, until: Instant) -> Result<(), String> {
    device.set_property("Managed", false).map_err(words)?;
    loop {
        let state: u32 = device.get_property("State").map_err(words)?;
        if state <= UNMANAGED {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err("it is not let go in time".to_owned());
        }
        thread::sleep(PAUSE);
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
