//! The server: put together, as a router, and on a port.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use http::HeaderName;
use http::header::WWW_AUTHENTICATE;
use tokio::net::TcpListener;
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};
use ues_access::ReadRules;
use ues_repo::blob_store::{BlobStores, S3Blobs, S3OptionsError};
use ues_repo::lexicon::{Lexicons, RegisterError};
use ues_repo::repo::mirror::Mirrors;
use ues_repo::repo::{Archives, RepoError, Repositories};
use ues_repo::syntax::TidClock;
use ues_storage::{ProjectionHandle, StorageError, Store};

use crate::accounts::{
    AccountKeys, Accounts, AppPasswords, Invites, MailTokens, Passkeys, Passwords, RecoveryCodes,
    Seal, Sessions, TokenSigner, Totps,
};
use crate::app::{App, Apps, Boxed};
use crate::census::{Census, CensusTaker};
use crate::config::{Config, PlcMode};
use crate::context::{Context, Parts};
use crate::firehose::{Hub, Told};
use crate::identity::{Identities, IdentityError};
use crate::labels::{Labeler, Labels};
use crate::limits::Limiter;
use crate::log_readers::LogReaders;
use crate::mail::Outbox;
use crate::methods;
use crate::moderation::{Journal, Takedowns, Withheld};
use crate::node_keys::NodeKeys;
use crate::oauth::OAuth;
use crate::preferences::Preferences;
use crate::proxy;
use crate::relays;
use crate::remote_blobs::RemoteBlobs;
use crate::serve::Door;
use crate::suspensions::Suspensions;
use crate::tls::{Redirect, Tls};
use crate::upkeep;
use crate::web;
use crate::xrpc::{Dispatcher, Methods, NoLexicon, Uses, dispatch};

/// What archives of repositories that are being read take of the disk before they make room for each other.
const ARCHIVE_BYTES: u64 = 4 << 30;
/// How long a browser may remember that any origin is welcome.
const CORS_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Why a server cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The repositories cannot be opened.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The bucket for blobs cannot be used as it is configured.
    #[error(transparent)]
    Bucket(#[from] S3OptionsError),
    /// Identities cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address of another service is none.
    #[error("{0:?} is not the address of a service: expected https://HOST or http://HOST:PORT")]
    ServiceUrl(String),
    /// A method has no lexicon.
    #[error(transparent)]
    Method(#[from] NoLexicon),
    /// An application's lexicon is refused.
    #[error("a lexicon of {app} is refused: {reason}")]
    Lexicon {
        /// The application.
        app: &'static str,
        /// Why.
        reason: RegisterError,
    },
}

/// Where clients come in by TLS.
pub struct TlsDoor {
    /// The port, usually 443.
    pub listener: TcpListener,
    /// The node's side of TLS.
    pub tls: Tls,
    /// Where those are sent who come without.
    pub redirect: Redirect,
}

/// A node's AT Protocol server.
///
/// Made inside a tokio runtime, since it starts the task that follows the event log.
pub struct Server {
    ctx: Context,
    methods: Methods,
    apps: Apps,
    projections: Vec<ProjectionHandle>,
}

impl Server {
    /// Puts a server together over a store.
    pub fn new(config: Config, store: Store, node_keys: NodeKeys) -> Result<Self, ServerError> {
        check_services(&config)?;
        let service_did = config.service_did();
        let lexicons = Lexicons::official();
        let methods = methods::all(&config, &lexicons)?;
        let keys = Arc::new(AccountKeys::open(&store, &node_keys.accounts)?);
        let bucket = config.blob_bucket.as_ref();
        let bucket = bucket.map(|options| S3Blobs::open(&store, options));
        let content = BlobStores::new(&store, bucket.transpose()?);
        let repos = Repositories::open_with(store.clone(), Arc::clone(&keys) as _, content)?;
        let signer = TokenSigner::new(&node_keys.sessions, service_did.clone());
        let census = Census::default();
        let taker = CensusTaker::open(store.clone(), repos.clone(), census.clone())?;
        let oauth = OAuth::open(&config, &store, &node_keys.sessions, &service_did)?;
        let told = Told {
            withheld: Arc::new(Withheld::open(&store)?),
            takedowns: Arc::new(Takedowns::open(&store)?),
        };
        let labeler = Labeler {
            did: config.labeler_did(),
            key: node_keys.labels,
        };
        let ctx = Context::new(Parts {
            oauth,
            identities: Identities::open(&config, &store, node_keys.plc_rotation)?,
            sessions: Sessions::open(store.clone(), signer)?,
            accounts: Arc::new(Accounts::open(&store)?),
            token_uses: Uses::default(),
            preferences: Preferences::open(&store)?,
            passwords: Passwords::default(),
            app_passwords: AppPasswords::open(&store)?,
            mail_tokens: MailTokens::open(&store)?,
            totps: Totps::open(&store)?,
            recovery: RecoveryCodes::open(&store)?,
            passkeys: Passkeys::open(&store)?,
            invites: Arc::new(Invites::open(&store)?),
            outbox: Outbox::open(&store)?,
            seal: Seal::new(&node_keys.accounts),
            admins: node_keys.admins,
            takedowns: Arc::clone(&told.takedowns),
            suspensions: Suspensions::open(&store)?,
            labels: Labels::open(&store, labeler)?,
            reports: Journal::open(&store, "moderation_reports")?,
            acts: Journal::open(&store, "admin_acts")?,
            reserved_keys: AccountKeys::open_reserved(&store, &node_keys.accounts)?,
            proxy: proxy::Clients::new(config.proxy.clone()),
            limiter: Limiter::new(config.rate_limits.clone()),
            withheld: Arc::clone(&told.withheld),
            hub: Hub::new(store.clone(), config.firehose.clone(), told),
            clock: TidClock::random(),
            service_did,
            lexicons,
            archives: Archives::new(store.clone(), ARCHIVE_BYTES),
            mirrors: Mirrors::open(&repos)?,
            read_rules: ReadRules::open(&store)?,
            repos,
            keys,
            remote_blobs: RemoteBlobs::default(),
            log_readers: LogReaders::default(),
            census,
            config,
            store,
        });
        let taker = ctx.store.project(taker)?;
        ctx.log_readers.add(taker.subscribe());
        tokio::spawn(ctx.hub.clone().run());
        Ok(Self {
            ctx,
            methods,
            apps: Vec::new(),
            projections: vec![taker],
        })
    }

    /// Plugs an application in.
    pub fn app(mut self, app: Arc<dyn App>) -> Result<Self, ServerError> {
        for document in app.lexicons() {
            self.ctx
                .lexicons
                .register(&document)
                .map_err(|reason| ServerError::Lexicon {
                    app: app.name(),
                    reason,
                })?;
        }
        for projection in app.projections(&self.ctx) {
            let handle = self.ctx.store.project(Boxed(projection))?;
            self.ctx.log_readers.add(handle.subscribe());
            self.projections.push(handle);
        }
        for method in app.methods(&self.ctx) {
            self.methods.add(&self.ctx.lexicons, method)?;
        }
        self.apps.push(app);
        Ok(self)
    }

    /// What the parts of the server work with.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The NSIDs of all methods that are served, sorted.
    pub fn methods(&self) -> Vec<&'static str> {
        self.methods.names()
    }

    /// All routes.
    pub fn router(&self) -> Router {
        let dispatcher = Dispatcher {
            ctx: self.ctx.clone(),
            methods: Arc::new(self.methods.clone()),
        };
        let mut router = Router::new()
            .route("/", get(web::page))
            .route("/live", get(web::live))
            .route("/robots.txt", get(web::robots))
            .route("/.well-known/did.json", get(web::did_document))
            .route("/.well-known/atproto-did", get(web::atproto_did))
            .with_state(self.ctx.clone())
            .merge(crate::oauth::routes(&self.ctx))
            .merge(crate::admin::routes(&self.ctx))
            .route("/xrpc/_health", get(web::health))
            .route("/xrpc/", any(dispatch).with_state(dispatcher.clone()))
            .route("/xrpc/{*method}", any(dispatch).with_state(dispatcher));
        if self.ctx.config.plc == PlcMode::Embedded {
            router = router.nest("/plc", web::plc_routes(self.ctx.clone()));
        }
        for app in &self.apps {
            router = router.merge(app.routes(&self.ctx));
        }
        let pages = get(web::missing).with_state::<()>(self.ctx.clone());
        let router = router
            .method_not_allowed_fallback(any(web::wrong_method).with_state::<()>(self.ctx.clone()))
            .fallback_service(pages);
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([
                HeaderName::from_static("dpop-nonce"),
                WWW_AUTHENTICATE,
                methods::MIRROR_HEADER,
            ])
            .max_age(CORS_MAX_AGE);
        router.layer(cors)
    }

    /// Serves until `shutdown` completes. Then no connection is accepted any more, requests in
    /// flight end (within the configured time), and subscribers are told.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.serve_with_tls(listener, None, shutdown).await
    }

    /// The same with a second listener, for TLS. The first is for clients on this machine then, and sends all others
    /// to the second.
    pub async fn serve_with_tls(
        self,
        listener: TcpListener,
        tls: Option<TlsDoor>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        upkeep::start(&self.ctx);
        relays::start(&self.ctx);
        let hub = self.ctx.hub.clone();
        let router = self.router();
        let config = self.ctx.config.clone();
        let mut doors = Vec::new();
        let plain = match tls {
            None => router,
            Some(door) => {
                doors.push(Door {
                    listener: door.listener,
                    tls: Some(door.tls),
                    router: router.clone(),
                });
                door.redirect.before(router)
            }
        };
        doors.push(Door {
            listener,
            tls: None,
            router: plain,
        });
        let served = crate::serve::serve(doors, &config, shutdown, || hub.stop()).await;
        self.stop();
        served
    }

    /// Ends what runs in the background, for a server that was used as a router only.
    pub fn stop(self) {
        self.ctx.hub.stop();
        for projection in self.projections {
            projection.stop();
        }
    }
}

/// Whether the addresses of other services can be used at all: known at the start, not at the first call.
fn check_services(config: &Config) -> Result<(), ServerError> {
    let appview = config.appview.iter().map(|a| &a.service);
    let services = appview
        .chain(&config.moderation)
        .chain(&config.report_service);
    for service in services {
        let good = service
            .url
            .parse::<reqwest::Url>()
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !good {
            return Err(ServerError::ServiceUrl(service.url.clone()));
        }
    }
    Ok(())
}
