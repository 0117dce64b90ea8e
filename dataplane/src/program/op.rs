//! The instructions of a rule.
//!
//! A rule runs with `M`, the lanes still in it. A match narrows `M`; a key that fails to load
//! takes its lane out of `M`, as NFT_BREAK does. Statements act on the lanes of `M` in lane
//! order. A verdict takes lanes out of the chain. An instruction takes its operands from slots:
//! a slot that names a key of the packet is loaded by the instruction itself, so a rule
//! `tcp dport 22 drop` is one match and one verdict.

use arrayvec::ArrayVec;

pub use super::engines;
pub use super::reject::{Icmpx, Reject};
pub use super::verdict::Verdict;

use super::encoding::{index_type, plain_enum, tagged_enum};
use super::key::{Base, CtKey, Direction, Exthdr, Slot};

index_type! {
    /// A set or map of the generation.
    SetId(u32);
    /// A shared cell (limit, quota, last, connlimit, numgen) of the generation.
    CellId(u32);
    /// A counter slot; stays with its rule or object for life.
    CounterSlot(u32);
    /// A chain of the program.
    ChainId(u32);
    /// A log description of the program.
    LogId(u32);
    /// An object of an engine outside the VM (ct helper, ct timeout, synproxy ...).
    EngineObjectId(u32);
    /// The rule in the eyes of drops, logs and traces; stable for the rule's life.
    RuleRef(u32);
}

impl RuleRef {
    /// No rule: a policy, or the dataplane itself.
    pub const NONE: RuleRef = RuleRef(u32::MAX);
}

/// Most columns of a value: 64 bytes, as nft's registers.
pub const MAX_COLUMNS: usize = 16;
/// Most columns that the fields of a look-up have together: a list of ipset may have members that ask
/// for every fact of a packet.
pub const MAX_KEY_COLUMNS: usize = 32;

/// A constant: its words, most significant first.
pub type Value = ArrayVec<u32, MAX_COLUMNS>;

/// Operands side by side: a key of a set, most significant field first.
pub type Slots = ArrayVec<Slot, MAX_COLUMNS>;

plain_enum! {
    /// How two numbers are compared.
    pub enum Relation {
        /// Equal.
        Eq = 0,
        /// Not equal.
        Ne = 1,
        /// Less.
        Lt = 2,
        /// Greater.
        Gt = 3,
        /// Less or equal.
        Le = 4,
        /// Greater or equal.
        Ge = 5,
    }
}

plain_enum! {
    /// What two values become.
    pub enum Combine {
        /// Bits in both.
        And = 0,
        /// Bits in either.
        Or = 1,
        /// Bits in one of them.
        Xor = 2,
    }
}

plain_enum! {
    /// What a dynamic set statement does.
    pub enum SetAction {
        /// Adds the element, or finds it; its timeout is not refreshed.
        Add = 0,
        /// Adds the element, or refreshes its timeout.
        Update = 1,
        /// Deletes the element.
        Delete = 2,
    }
}

plain_enum! {
    /// What a packet's metadata is set by `meta ... set`.
    pub enum MetaSetKey {
        /// The packet mark.
        Mark = 0,
        /// The traffic class.
        Priority = 1,
        /// The packet type.
        Pkttype = 2,
        /// Whether the packet is traced.
        Nftrace = 3,
        /// Whether the frame is routed instead of bridged.
        Broute = 4,
    }
}

plain_enum! {
    /// Kind of object that an object map or statement names.
    pub enum ObjectKind {
        /// A counter; the map's data is its slot.
        Counter = 0,
        /// A quota; the map's data is its cell.
        Quota = 1,
        /// A limit; the map's data is its cell.
        Limit = 2,
        /// A ct helper.
        CtHelper = 3,
        /// A ct timeout.
        CtTimeout = 4,
        /// A ct expectation.
        CtExpectation = 5,
        /// A synproxy.
        Synproxy = 6,
    }
}

tagged_enum! {
    /// What is kept right when payload is written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Checksum {
        /// Nothing, but the pseudo-header sum if asked for.
        None = 0,
        /// The 16-bit one's complement sum at this byte of the same base; a UDP checksum of 0
        /// stays 0.
        Internet = 1 {
            /// Byte offset from the base.
            offset: u8,
        },
        /// The CRC32c of SCTP at this byte of the transport header.
        Sctp = 2 {
            /// Byte offset from the base.
            offset: u8,
        },
    }
}

plain_enum! {
    /// Kind of address translation.
    pub enum NatKind {
        /// Source.
        Snat = 0,
        /// Destination.
        Dnat = 1,
        /// Source, to the address of the way out.
        Masquerade = 2,
        /// Destination, to the appliance itself.
        Redirect = 3,
    }
}

tagged_enum! {
    /// A statement that each element of a dynamic set carries.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ElementStatement {
        /// counter.
        Counter = 0,
        /// limit.
        Limit = 1 {
            /// Tokens a period.
            rate: u64,
            /// Period in nanoseconds.
            period_ns: u64,
            /// Tokens beyond the rate.
            burst: u32,
            /// Bytes instead of packets.
            bytes: bool,
            /// Match above the rate.
            over: bool,
        },
        /// quota.
        Quota = 2 {
            /// Bytes.
            bytes: u64,
            /// Match above the quota.
            over: bool,
        },
        /// last.
        Last = 3,
        /// ct count.
        ConnLimit = 4 {
            /// Connections.
            count: u32,
            /// Match above the count.
            over: bool,
        },
    }
}

tagged_enum! {
    /// One instruction.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Op {
        // ---- matches
        /// Goes on when `key relation value`.
        Compare = 1 {
            /// Left side.
            key: Slot,
            /// How.
            relation: Relation,
            /// Right side; as many words as the key has columns.
            value: Value,
        },
        /// Goes on when `(key & mask) relation value`. `tcp flags syn` is `(flags & 2) != 0`.
        CompareMasked = 2 {
            /// Left side.
            key: Slot,
            /// Bits that count.
            mask: Value,
            /// How.
            relation: Relation,
            /// Right side.
            value: Value,
        },
        /// Goes on when `low <= key <= high`, or not so.
        Range = 3 {
            /// The key.
            key: Slot,
            /// First value inside.
            low: Value,
            /// Last value inside.
            high: Value,
            /// Match outside instead.
            inverted: bool,
        },
        /// Goes on when the keys are in the set (or not). Statements of the found element run.
        LookUp = 4 {
            /// The set.
            set: SetId,
            /// Its key fields.
            keys: Slots,
            /// Match what is not in it.
            inverted: bool,
        },
        /// Goes on when a set has what the packet's facts say (or not). A packet that lacks a fact
        /// is not in the set.
        FactMatch = 5 {
            /// The set.
            set: SetId,
            /// The facts, in their order.
            keys: Slots,
            /// Which they are, as bits of [`FactKind`](super::fact::FactKind).
            kinds: u16,
            /// Match what is not in it.
            inverted: bool,
            /// Finding something changes what other packets can see.
            writes: bool,
        },
        // ---- values
        /// Loads what the map has for the keys; a miss ends the rule.
        MapInto = 16 {
            /// The map.
            set: SetId,
            /// Its key fields.
            keys: Slots,
            /// Work slot with the width of the map's data.
            into: Slot,
        },
        /// A constant into a work slot.
        Immediate = 17 {
            /// Work slot.
            into: Slot,
            /// The constant.
            value: Value,
        },
        /// A copy; the number is widened or cut at the most significant end.
        Copy = 18 {
            /// Work slot.
            into: Slot,
            /// What to copy.
            from: Slot,
        },
        /// `(from & mask) ^ xor`: and, or, xor and not with constants, as the kernel has it.
        Bitwise = 19 {
            /// Work slot of the same width.
            into: Slot,
            /// Left side.
            from: Slot,
            /// Bits to keep.
            mask: Value,
            /// Bits to turn.
            xor: Value,
        },
        /// Two slots combined.
        Combine = 20 {
            /// Work slot of the same width.
            into: Slot,
            /// Left side.
            left: Slot,
            /// How.
            how: Combine,
            /// Right side.
            right: Slot,
        },
        /// `from << bits` or `from >> bits`, within the width of `into`.
        Shift = 21 {
            /// Work slot of the same number of columns.
            into: Slot,
            /// What to shift.
            from: Slot,
            /// To the more significant end.
            left: bool,
            /// By how much, below the width.
            bits: u8,
        },
        /// Jenkins hash of the fields (each padded to 4 bytes), scaled to the modulus.
        Jhash = 22 {
            /// Work slot of 32 bits.
            into: Slot,
            /// The fields.
            from: Slots,
            /// Results are below it.
            modulus: u32,
            /// Seed.
            seed: u32,
            /// Added to the result.
            offset: u32,
        },
        /// A hash of the flow that both directions share, scaled to the modulus.
        Symhash = 23 {
            /// Work slot of 32 bits.
            into: Slot,
            /// Results are below it.
            modulus: u32,
            /// Added to the result.
            offset: u32,
        },
        /// The next number of a shared sequence.
        NumgenInc = 24 {
            /// Work slot of 32 bits.
            into: Slot,
            /// The sequence (holds modulus and offset).
            cell: CellId,
        },
        /// A random number.
        NumgenRandom = 25 {
            /// Work slot of 32 bits.
            into: Slot,
            /// Results are below it.
            modulus: u32,
            /// Added to the result.
            offset: u32,
        },
        // ---- statements
        /// Counts packet and bytes.
        Counter = 32 {
            /// Where.
            counter: CounterSlot,
        },
        /// limit, quota, last or ct count (what it is, the cell says); may end the rule.
        Cell = 33 {
            /// Which.
            cell: CellId,
        },
        /// The object that the map has for the keys: counter, quota, limit, or an engine's.
        ObjectMap = 34 {
            /// The map.
            set: SetId,
            /// Its key fields.
            keys: Slots,
            /// What its objects are.
            kind: ObjectKind,
        },
        /// An object of an engine outside the VM (ct helper "x", ct timeout set "x", synproxy).
        EngineObject = 35 {
            /// What it is.
            kind: ObjectKind,
            /// Which.
            object: EngineObjectId,
        },
        /// A log event.
        Log = 36 {
            /// Prefix, level, group and flags.
            log: LogId,
        },
        /// Drops the packet and answers its sender. Ends the rule like a drop.
        Reject = 37 {
            /// With what.
            with: Reject,
        },
        /// Sends a copy by another port.
        Dup = 38 {
            /// Index of the port (32 bits), if given.
            device: Option<Slot>,
            /// Gateway: next hop, if given.
            address: Option<Slot>,
        },
        /// Sends the packet itself by another port; ends everything.
        Fwd = 39 {
            /// Index of the port (32 bits).
            device: Slot,
            /// Gateway: next hop, if given.
            address: Option<Slot>,
        },
        /// Writes bits of the packet and keeps its checksums right.
        PayloadWrite = 40 {
            /// What the offset counts from.
            base: Base,
            /// First bit.
            bit_offset: u16,
            /// How many, at most 128.
            bits: u16,
            /// The number to write.
            from: Slot,
            /// Checksum of the same header.
            checksum: Checksum,
            /// The bits are part of the transport's pseudo-header.
            pseudo_header: bool,
        },
        /// Writes into a TCP option, if it is there, as the kernel does (which writes no other
        /// kind of header; a larger maximum segment size is not written).
        ExthdrWrite = 41 {
            /// Kind of header.
            kind: Exthdr,
            /// Its type number.
            number: u8,
            /// First byte.
            offset: u8,
            /// Bytes: 1, 2 or 4.
            len: u8,
            /// The number to write.
            from: Slot,
        },
        /// Overwrites a TCP option with no-operations.
        ResetTcpOption = 42 {
            /// The option's kind.
            number: u8,
        },
        /// Sets a packet's metadata.
        MetaSet = 43 {
            /// Which.
            key: MetaSetKey,
            /// The number.
            from: Slot,
        },
        /// Sets a value of the connection.
        CtSet = 44 {
            /// Which.
            key: CtKey,
            /// Of which direction, where it matters.
            direction: Option<Direction>,
            /// The number.
            from: Slot,
        },
        /// The packet is not tracked.
        Notrack = 45,
        /// Address translation.
        Nat = 46 {
            /// Kind.
            kind: NatKind,
            /// 2 ip, 10 ip6.
            family: u8,
            /// First address.
            address_min: Option<Slot>,
            /// Last address.
            address_max: Option<Slot>,
            /// First port.
            port_min: Option<Slot>,
            /// Last port.
            port_max: Option<Slot>,
            /// NF_NAT_RANGE_* bits.
            flags: u32,
        },
        /// Hands the packet to a proxy on the appliance.
        Tproxy = 47 {
            /// 2 ip, 10 ip6.
            family: u8,
            /// Address, if given.
            address: Option<Slot>,
            /// Port, if given.
            port: Option<Slot>,
        },
        /// An anonymous synproxy.
        Synproxy = 48 {
            /// Maximum segment size.
            mss: u16,
            /// Window scale.
            wscale: u8,
            /// Bits of [`option`](crate::synproxy::option): what is offered.
            flags: u8,
        },
        /// Hands the packet to a user process.
        Queue = 49 {
            /// First queue.
            first: u16,
            /// Last queue.
            last: u16,
            /// 1 bypass, 2 cpu-fanout.
            flags: u8,
            /// Number of the queue computed by the rule.
            from: Option<Slot>,
        },
        /// Hands established flows of the packet's connection to a flow table.
        FlowOffload = 50 {
            /// The flow table.
            table: EngineObjectId,
        },
        /// Adds, updates or deletes an element of a set; may end the rule.
        DynSet = 51 {
            /// The set.
            set: SetId,
            /// Its key fields.
            keys: Slots,
            /// What to do.
            action: SetAction,
            /// Time to live in milliseconds; without one the set's own.
            timeout_ms: Option<u64>,
            /// What a map's element maps to.
            data: Slots,
            /// What each element carries.
            statements: ArrayVec<ElementStatement, 4>,
        },
        /// Stateful NAT64 by a named object.
        Nat64 = 52 {
            /// The object.
            object: EngineObjectId,
        },
        /// Stateless prefix translation or SIIT by a named object.
        Translate = 53 {
            /// The object.
            object: EngineObjectId,
        },
        /// Lets a set do with the packet what its rule says: add, delete, or map. The rule goes on.
        FactAct = 54 {
            /// The set.
            set: SetId,
            /// The facts, in their order.
            keys: Slots,
            /// Which they are, as bits of [`FactKind`](super::fact::FactKind).
            kinds: u16,
            /// The packet's mark becomes what the set maps it to.
            mark: bool,
            /// The packet's class becomes what the set maps it to.
            priority: bool,
        },
        // ---- verdicts
        /// A verdict.
        Verdict = 64 {
            /// Which.
            verdict: Verdict,
        },
        /// The verdict that the map has for the keys; a miss ends the rule.
        VerdictMap = 65 {
            /// The map.
            set: SetId,
            /// Its key fields.
            keys: Slots,
        },
    }
}
