//! The table of routes: the router, the rights and the OpenAPI document all come from it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    Shared, conntrack, drops, events, flow, flows, gate, ipset, nat, nft, openapi, ports, program,
    routing, sets, status, wire,
};
use crate::rights::Right;

/// How a resource is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Verb {
    /// The method's name in lower case, as OpenAPI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// A parameter in the path or in the query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `path` or `query`.
    pub place: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// The form of an answer.
#[derive(Clone, Copy)]
pub enum Form {
    /// One JSON document.
    Json(SchemaOf),
    /// One JSON document per line, without end.
    Lines(SchemaOf),
    /// Bytes of a media type.
    Bytes(&'static str),
}

/// Makes the schema of a wire type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One row of the table.
pub struct Route {
    /// How it is asked for.
    pub verb: Verb,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Its name in generated clients.
    pub operation: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// What the peer must be allowed to do. Commands of nft need `Read` here, and `Change` when
    /// they turn out to change something.
    pub right: Right,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The form of the request's body.
    pub request: Option<SchemaOf>,
    /// The form of the answer.
    pub answer: Form,
    /// Whether the expected generation (If-Match) is heeded.
    pub conditional: bool,
    handler: fn() -> MethodRouter<Shared>,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn any(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object" })
}

/// The query of flows.
const FLOW_QUERY: &[Parameter] = &[
    query("family", "ipv4 or ipv6"),
    query("protocol", "A protocol's name or number"),
    query("address", "Any of the four addresses, or a network"),
    query("src", "Source of the original direction, or a network"),
    query("dst", "Destination of the original direction, or a network"),
    query("reply_src", "Source of the reply direction, or a network"),
    query(
        "reply_dst",
        "Destination of the reply direction, or a network",
    ),
    query("port", "Any of the four ports"),
    query("sport", "Source port of the original direction"),
    query("dport", "Destination port of the original direction"),
    query("reply_sport", "Source port of the reply direction"),
    query("reply_dport", "Destination port of the reply direction"),
    query("icmp_type", "ICMP type of the original direction"),
    query("icmp_code", "ICMP code of the original direction"),
    query("icmp_id", "ICMP identifier"),
    query("state", "State of the protocol"),
    query(
        "status",
        "Status bits that are set, or unreplied, separated by commas",
    ),
    query("mark", "The connection mark, or mark/mask"),
    query("zone", "The zone of both directions"),
    query("orig_zone", "The zone of the original direction"),
    query("reply_zone", "The zone of the reply direction"),
    query("id", "The flow of this number"),
    query("sort", "bytes, packets, age, src or dst"),
    query("limit", "At most so many"),
    query("all", "true: every flow; needed to end all of them"),
];

const fn query(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: "query",
        about,
    }
}

/// Every route of the control API.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/openapi.json",
        operation: "openapi",
        summary: "This document",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(any),
        conditional: false,
        handler: || get(openapi::serve),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/status",
        operation: "status",
        summary: "What the daemon is doing",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<wire::Status>),
        conditional: false,
        handler: || get(status::serve),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/nft",
        operation: "nft",
        summary: "Run commands in the nftables language as one transaction",
        right: Right::Read,
        parameters: &[],
        request: Some(of::<wire::NftCommand>),
        answer: Form::Json(of::<wire::NftAnswer>),
        conditional: true,
        handler: || post(nft::run),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/ipset",
        operation: "ipset",
        summary: "Run a command line of ipset, or the lines of a restore",
        right: Right::Read,
        parameters: &[],
        request: Some(of::<wire::IpsetCommand>),
        answer: Form::Json(of::<wire::IpsetAnswer>),
        conditional: true,
        handler: || post(ipset::run),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/program",
        operation: "program",
        summary: "The compiled program, instruction by instruction",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<wire::Program>),
        conditional: false,
        handler: || get(program::serve),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/ports",
        operation: "listPorts",
        summary: "Every port with its queues",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<Vec<wire::PortStatus>>),
        conditional: false,
        handler: || get(ports::list),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/routes",
        operation: "routes",
        summary: "Every route of a gateway",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<Vec<wire::RouteStatus>>),
        conditional: false,
        handler: || get(routing::routes),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/neighbours",
        operation: "neighbours",
        summary: "Every neighbour of a gateway",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<Vec<wire::NeighbourStatus>>),
        conditional: false,
        handler: || get(routing::neighbours),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/nat",
        operation: "nat",
        summary: "External addresses in use and endpoint-independent mappings of a gateway",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<nat::NatStatus>),
        conditional: false,
        handler: || get(nat::serve),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/ports",
        operation: "addPort",
        summary: "Open a port",
        right: Right::Change,
        parameters: &[],
        request: Some(of::<wire::PortRequest>),
        answer: Form::Json(of::<wire::PortStatus>),
        conditional: true,
        handler: || post(ports::add),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/ports/{name}",
        operation: "removePort",
        summary: "Close a port",
        right: Right::Change,
        parameters: &[Parameter {
            name: "name",
            place: "path",
            about: "The port's name",
        }],
        request: None,
        answer: Form::Json(any),
        conditional: true,
        handler: || delete(ports::remove),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/sets",
        operation: "listSetSources",
        summary: "Every set whose elements come from a file",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<Vec<wire::SetSourceStatus>>),
        conditional: false,
        handler: || get(sets::list),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/sets/reload",
        operation: "reloadSets",
        summary: "Read files of sets again",
        right: Right::Change,
        parameters: &[],
        request: Some(of::<wire::SetReload>),
        answer: Form::Json(of::<Vec<wire::SetSourceStatus>>),
        conditional: false,
        handler: || post(sets::reload),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/drops",
        operation: "drops",
        summary: "Why frames ended here, and the last of them",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<wire::Drops>),
        conditional: false,
        handler: || get(drops::serve),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/drops/pcap",
        operation: "dropsPcap",
        summary: "The last dropped frames as a pcapng file",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Bytes("application/x-pcapng"),
        conditional: false,
        handler: || get(drops::pcap),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/flows",
        operation: "listFlows",
        summary: "Tracked connections",
        right: Right::Read,
        parameters: FLOW_QUERY,
        request: None,
        answer: Form::Lines(of::<flow::Flow>),
        conditional: false,
        handler: || get(flows::list),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/flows",
        operation: "makeFlow",
        summary: "Put a connection into the table by hand",
        right: Right::Change,
        parameters: &[],
        request: Some(of::<flow::NewFlow>),
        answer: Form::Json(of::<flow::Flow>),
        conditional: false,
        handler: || post(flows::insert),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/flows",
        operation: "changeFlows",
        summary: "Change connections, and show them as they are then",
        right: Right::Change,
        parameters: FLOW_QUERY,
        request: Some(of::<flow::FlowChange>),
        answer: Form::Lines(of::<flow::Flow>),
        conditional: false,
        handler: || patch(flows::update),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/flows",
        operation: "deleteFlows",
        summary: "End connections, and show those that were ended",
        right: Right::Change,
        parameters: FLOW_QUERY,
        request: None,
        answer: Form::Lines(of::<flow::Flow>),
        conditional: false,
        handler: || delete(flows::delete),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/flows/count",
        operation: "countFlows",
        summary: "How many connections there are, by protocol and state",
        right: Right::Read,
        parameters: FLOW_QUERY,
        request: None,
        answer: Form::Json(of::<flow::FlowCount>),
        conditional: false,
        handler: || get(flows::count),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/expectations",
        operation: "listExpectations",
        summary: "Connections that others have announced",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Lines(of::<flow::Expected>),
        conditional: false,
        handler: || get(flows::expectations),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/expectations",
        operation: "flushExpectations",
        summary: "Forget all announced connections",
        right: Right::Change,
        parameters: &[],
        request: None,
        answer: Form::Json(any),
        conditional: false,
        handler: || delete(flows::flush_expectations),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/conntrack",
        operation: "conntrack",
        summary: "The tracker's settings and figures",
        right: Right::Read,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<flow::Conntrack>),
        conditional: false,
        handler: || get(conntrack::serve),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/conntrack",
        operation: "changeConntrack",
        summary: "Change settings of the tracker",
        right: Right::Change,
        parameters: &[],
        request: Some(of::<flow::ConntrackChange>),
        answer: Form::Json(of::<flow::ConntrackSettings>),
        conditional: false,
        handler: || post(conntrack::change),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/conntrack/save",
        operation: "saveFlows",
        summary: "Save the table of connections into the state folder",
        right: Right::Change,
        parameters: &[],
        request: None,
        answer: Form::Json(of::<flow::Saved>),
        conditional: false,
        handler: || post(conntrack::save),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/events",
        operation: "events",
        summary: "Follow what happens, from now on",
        right: Right::Read,
        parameters: &[Parameter {
            name: "kind",
            place: "query",
            about: "Only these kinds, separated by commas",
        }],
        request: None,
        answer: Form::Lines(of::<wire::Event>),
        conditional: false,
        handler: || get(events::follow),
    },
];

/// Largest body of a request in bytes: a ruleset with some ten million set elements.
const LARGEST_BODY: usize = 1 << 30;

/// The router of every row, each behind the gate of its right.
pub fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let gate = from_fn_with_state((shared.clone(), route.right), gate::check);
        router = router.route(route.path, (route.handler)().route_layer(gate));
    }
    router
        .fallback(gate::no_such_path)
        .method_not_allowed_fallback(gate::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}
