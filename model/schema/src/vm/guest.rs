//! The guest's console and session: tickets for the console, and what the guest's agent does for its user.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{secret::Secret, values::Done};

wire_enum! {
    /// What becomes of who is connected to the console when it gets a new ticket.
    pub enum ConnectedAction {
        /// They stay.
        Keep = "keep",
        /// They are cut off.
        Disconnect = "disconnect",
        /// The new ticket is refused.
        Fail = "fail",
    }
}

namespace! {
    /// The guest's console and session.
    pub trait GuestApi = "VM";

    /// Sets the password of the console for a while.
    Virt fn set_ticket "setTicket" (SetTicket {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The password.
        password: Secret,
        /// Seconds that it holds.
        ttl: i32,
        /// What becomes of who is connected.
        existing_connection "existingConnAction": ConnectedAction,
        /// More about the user: `userName`, `userId`, `fips`, `vncUsername`.
        params: BTreeMap<String, String>,
    }) -> Done = later;

    /// Locks the user's session.
    Virt fn desktop_lock "desktopLock" (DesktopLock {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done = later;

    /// Logs a user in.
    Virt fn desktop_login "desktopLogin" (DesktopLogin {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Domain of the user.
        domain: String,
        /// The user.
        username: String,
        /// Password of the user.
        password: Secret,
    }) -> Done = later;

    /// Logs the user out.
    Virt fn desktop_logoff "desktopLogoff" (DesktopLogoff {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Without asking.
        force: bool,
    }) -> Done = later;

    /// Sends words to the guest's agent.
    Virt fn desktop_send_hc_command "desktopSendHcCommand" (DesktopSendHcCommand {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The words.
        message: String,
    }) -> Done = later;
}
