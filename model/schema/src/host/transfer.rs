//! Tickets of image transfers: for each, the daemon ovirt-imageio lets one client read or write one image.

use uuid::Uuid;

use crate::values::Done;

wire_enum! {
    /// What a client may do with an image.
    pub enum TicketOp {
        /// Read it.
        Read = "read",
        /// Write it.
        Write = "write",
    }
}

wire! {
    /// A permission to transfer an image.
    pub struct ImageTicket {
        /// The ticket.
        uuid: Uuid,
        /// Bytes of the image.
        size: u64,
        /// Where the daemon finds it: `file:///...` or `nbd:unix:/...`.
        url: String,
        /// Seconds until it expires, unless it is extended.
        timeout: u32,
        /// What may be done.
        ops: Vec<TicketOp>,
        /// Name under which a browser saves it.
        filename: Option<String>,
        /// Is the image sparse?
        sparse: Option<bool>,
        /// May the client read which blocks changed?
        dirty: Option<bool>,
        /// The transfer, for logs.
        transfer_id: Option<String>,
        /// Seconds without traffic after which the connection is closed.
        inactivity_timeout: Option<u32>,
    }

    /// A ticket as the daemon has it.
    pub struct TicketReport {
        /// The ticket.
        uuid: Uuid,
        /// Bytes of the image.
        size: u64,
        /// Where the daemon finds it.
        url: String,
        /// Seconds until it expires.
        timeout: i32,
        /// What may be done.
        ops: Vec<TicketOp>,
        /// Name under which a browser saves it.
        filename: Option<String>,
        /// Does a client use it now?
        active: bool,
        /// Bytes transferred so far; absent if the daemon cannot tell.
        transferred: Option<u64>,
        /// Seconds since the last traffic.
        idle_time: Option<u32>,
    }
}

namespace! {
    /// Transfers of images by ovirt-imageio.
    pub trait TransferApi = "Host";

    /// Gives a ticket to the daemon.
    Storage fn add_image_ticket "add_image_ticket" (AddImageTicket {
        /// The ticket.
        ticket: ImageTicket,
    }) -> Done = later;

    /// A ticket as the daemon has it.
    Query fn get_image_ticket "get_image_ticket" (GetImageTicket {
        /// The ticket.
        ticket_id "uuid": Uuid,
    }) -> TicketReport = later;

    /// Takes a ticket from the daemon.
    Storage fn remove_image_ticket "remove_image_ticket" (RemoveImageTicket {
        /// The ticket.
        ticket_id "uuid": Uuid,
    }) -> Done = later;

    /// Lets a ticket live longer.
    Storage fn extend_image_ticket "extend_image_ticket" (ExtendImageTicket {
        /// The ticket.
        ticket_id "uuid": Uuid,
        /// Seconds from now.
        timeout: u32,
    }) -> Done = later;
}
