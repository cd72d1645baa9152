//! Administering the node: what `com.atproto.admin`, the operator's commands and the page `/admin`
//! have in common. Whatever changes something goes into the audit in the same batch.

mod actor;
mod events;
mod invites;
mod labels;
mod letters;
mod page;
mod quota;
mod repair;
mod reports;
mod search;
mod sessions;
mod suspend;
mod takedown;

pub use actor::{Actor, COMMAND_LINE, OPERATOR, PLACE_HEADER, Place};
pub use events::{Events, events_after, last_events};
pub(crate) use invites::new_code;
pub use invites::{MAX_COUNT, MAX_USES, disable_invites, make_invites, set_account_invites};
pub use labels::put_label;
pub use letters::{read_letter, send_again, send_password_reset};
pub(crate) use page::routes;
pub use quota::{NewQuotas, set_quotas};
pub use repair::repair;
pub use reports::mark_report;
pub use search::{find_accounts, is_like};
pub use sessions::end_sessions;
pub use suspend::{lift_suspension, suspend};
pub use takedown::{Subject, set_deactivated, set_takedown};
pub(crate) use takedown::{cid, record};
