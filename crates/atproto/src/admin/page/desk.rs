//! What all sections have in common: who is let in, forms, answers.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};

use super::session::{Notice, Sessions, Visitor};
use crate::admin::{Actor, Place};
use crate::context::Context;
use crate::oauth::Asked;
use crate::web::guard;
use crate::xrpc::XrpcError;

/// Nothing may run, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The answer to somebody who is not let in.
pub type Refused = Box<Response>;

/// What the handlers work with.
#[derive(Clone)]
pub struct Desk {
    pub ctx: Context,
    pub sessions: Arc<Sessions>,
}

/// What every page has: its head, its navigation, its forms' token.
pub struct Frame {
    pub hostname: String,
    pub section: &'static str,
    pub form_token: String,
    pub who: &'static str,
    pub notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "admin/failure.html")]
struct FailurePage {
    frame: Frame,
    message: String,
}

/// Somebody who is signed in, with what they ask for.
pub struct Visit {
    pub asked: Asked,
    pub visitor: Visitor,
    pub actor: Actor,
    who: &'static str,
}

impl Desk {
    /// Lets somebody in who is signed in and wants to see a page; others are sent to the door.
    pub fn enter(&self, request: &Request<Body>) -> Result<Visit, Refused> {
        let asked = Asked::query(&self.ctx, request);
        self.let_in(
            asked.map_err(|e| Box::new(self.refuse(StatusCode::BAD_REQUEST, &e.description)))?,
        )
    }

    /// Reads a form of a page. Browsers say where a form comes from: only our own pages may send one, and only
    /// with the token that they carry.
    pub async fn form(&self, request: Request<Body>) -> Result<(Asked, Visitor), Refused> {
        let asked = Asked::body(&self.ctx, request).await;
        let asked =
            asked.map_err(|e| Box::new(self.refuse(StatusCode::BAD_REQUEST, &e.description)))?;
        let visitor = self.visitor(&asked)?;
        if self.is_foreign(&asked) || !visitor.is_form_token(asked.value("form")) {
            let message = "This form was not sent by a page of this server that is still good. Nothing was done.";
            return Err(Box::new(self.refuse(StatusCode::FORBIDDEN, message)));
        }
        Ok((asked, visitor))
    }

    /// The same for somebody who is signed in.
    pub async fn order(&self, request: Request<Body>) -> Result<Visit, Refused> {
        let (asked, visitor) = self.form(request).await?;
        match visitor.name {
            Some(who) => Ok(visit(asked, visitor, who)),
            None => Err(Box::new(self.redirect(None, "/admin"))),
        }
    }

    fn let_in(&self, asked: Asked) -> Result<Visit, Refused> {
        let visitor = self.visitor(&asked)?;
        match visitor.name {
            Some(who) => Ok(visit(asked, visitor, who)),
            None => Err(Box::new(self.redirect(None, "/admin"))),
        }
    }

    /// The browser that asks.
    pub fn visitor(&self, asked: &Asked) -> Result<Visitor, Refused> {
        let visitor = self.sessions.visitor(&asked.headers, self.ctx.now_ms());
        visitor.map_err(|cause| Box::new(self.failed(&cause)))
    }

    /// Whether a form comes from another site. The node may be reached by other names than its public one, such as
    /// through a tunnel.
    fn is_foreign(&self, asked: &Asked) -> bool {
        let Some(origin) = asked.header(header::ORIGIN) else {
            return asked.is_cross_site();
        };
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = origin == self.ctx.config.endpoint()
            || authority.is_some_and(|own| asked.header(header::HOST) == Some(own));
        !own || asked.is_cross_site()
    }

    /// The frame of a page for somebody.
    pub fn frame(&self, visit: &Visit, section: &'static str) -> Frame {
        Frame {
            hostname: self.ctx.config.hostname().to_owned(),
            section,
            form_token: visit.visitor.form_token(),
            who: visit.who,
            notice: self.sessions.take(&visit.visitor),
        }
    }

    /// A page as an answer, or what kept it from being made.
    pub fn page(&self, visit: &Visit, made: Result<impl Template, XrpcError>) -> Response {
        match made {
            Ok(template) => self.answer(StatusCode::OK, Some(&visit.visitor), &template),
            Err(e) => {
                let page = FailurePage {
                    frame: self.frame(visit, ""),
                    message: sentence(&e),
                };
                self.answer(e.status(), Some(&visit.visitor), &page)
            }
        }
    }

    /// Says on the next page what became of an order.
    pub fn done(&self, visit: &Visit, done: Result<String, XrpcError>, to: &str) -> Response {
        let notice = match done {
            Ok(text) => Notice { good: true, text },
            Err(e) => Notice {
                good: false,
                text: sentence(&e),
            },
        };
        self.sessions.leave(&visit.visitor, notice);
        self.redirect(Some(&visit.visitor), to)
    }

    /// Any page as an answer.
    pub fn answer(
        &self,
        status: StatusCode,
        visitor: Option<&Visitor>,
        template: &impl Template,
    ) -> Response {
        let mut response = match template.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(cause) => {
                tracing::error!(%cause, "a page could not be made");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
        guard(&mut response, POLICY);
        self.set_cookie(visitor, &mut response);
        response
    }

    /// Sends the browser elsewhere, by GET.
    pub fn redirect(&self, visitor: Option<&Visitor>, to: &str) -> Response {
        let Ok(location) = HeaderValue::from_str(to) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
        guard(&mut response, POLICY);
        self.set_cookie(visitor, &mut response);
        response
    }

    /// Refuses somebody who is perhaps not signed in.
    fn refuse(&self, status: StatusCode, message: &str) -> Response {
        let page = FailurePage {
            frame: Frame {
                hostname: self.ctx.config.hostname().to_owned(),
                section: "",
                form_token: String::new(),
                who: "",
                notice: None,
            },
            message: message.to_owned(),
        };
        self.answer(status, None, &page)
    }

    /// A failure of ours. The cause goes to the log.
    pub fn failed(&self, cause: &dyn std::fmt::Display) -> Response {
        tracing::error!(%cause, "the admin page failed");
        let message = "The server failed. Its log says why.";
        self.refuse(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    fn set_cookie(&self, visitor: Option<&Visitor>, response: &mut Response) {
        let secure = self.ctx.config.endpoint().starts_with("https://");
        if let Some(cookie) = visitor.and_then(|visitor| visitor.cookie(secure)) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
}

fn visit(asked: Asked, visitor: Visitor, who: &'static str) -> Visit {
    Visit {
        asked,
        visitor,
        actor: Actor::new(who, Place::Page),
        who,
    }
}

/// An error in words for the page.
fn sentence(e: &XrpcError) -> String {
    if e.status().is_server_error() {
        tracing::error!(error = %e, "the admin page failed");
    }
    let mut text = e.message().trim_end_matches('.').to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{text}.")
}

impl Visit {
    /// A field of the form, without space around it; `None` where it is empty.
    pub fn field(&self, name: &str) -> Option<&str> {
        let value = self.asked.value(name).map(str::trim);
        value.filter(|value| !value.is_empty())
    }
}
