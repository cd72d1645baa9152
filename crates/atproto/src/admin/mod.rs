//! Administering the node: what `com.atproto.admin`, the operator's commands and the page `/admin`
//! have in common. Whatever changes something goes into the audit in the same batch.

mod actor;
mod invites;
mod labels;
mod letters;
mod page;
mod quota;
mod reports;
mod search;
mod sessions;
mod takedown;

pub use actor::{Actor, Place};
pub(crate) use invites::new_code;
pub use invites::{disable_invites, make_invites, set_account_invites};
pub use labels::put_label;
pub use letters::{send_again, send_password_reset};
pub(crate) use page::routes;
pub use quota::{NewQuotas, set_quotas};
pub use reports::mark_report;
pub use search::find_accounts;
pub use sessions::end_sessions;
pub use takedown::{Subject, set_deactivated, set_takedown};
pub(crate) use takedown::{cid, record};
