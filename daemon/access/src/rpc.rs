//! The table: every call of the protocol, what it is called in grants and policies, who may make it, and what it reaches.
//!
//! It is the only place that says so. A test holds it against the protocol's descriptors, docs/authorization.md is written
//! from it, and the Cedar schema names its actions.

mod markdown;

use crate::grant::Role::{self, Administrator, Auditor, Certifier, Operator, Publisher, Reader};

pub use markdown::table_markdown;

/// What a call reaches, which decides what a narrowed grant is worth for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Single components: what is read is narrowed to those that the principal may see, what is written is checked.
    Component,
    /// Nothing of single components: any grant of the role suffices, whatever it is narrowed to.
    General,
    /// The whole catalogue, or what many callers left in it: a grant that is narrowed does not suffice.
    Whole,
    /// Nothing worth keeping: whoever is known may.
    Open,
}

impl Reach {
    /// Every reach.
    pub const ALL: [Self; 4] = [Self::Component, Self::General, Self::Whole, Self::Open];

    /// The word for it in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::General => "general",
            Self::Whole => "whole",
            Self::Open => "open",
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpc {
    /// Its path, `/package.Service/Method`.
    pub path: &'static str,
    /// What grants, policies and audit records call it. Calls of the same nature share an action.
    pub action: &'static str,
    /// The roles that may make it.
    pub roles: &'static [Role],
    /// What it reaches.
    pub reach: Reach,
}

/// A finer question within a call: the call alone does not say how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The action to ask for besides the call's own.
    pub action: &'static str,
    /// When, in words.
    pub when: &'static str,
    /// The roles that may take it.
    pub roles: &'static [Role],
    /// What it reaches.
    pub reach: Reach,
}

/// Putting a version where it may be promised: a move to `certified`, and a manifest or an import that starts there.
pub const CERTIFY_COMPONENT: &str = "certify-component";

const fn rpc(path: &'static str, action: &'static str, roles: &'static [Role], reach: Reach) -> Rpc {
    Rpc { path, action, roles, reach }
}

const EVERYBODY: &[Role] = &Role::ALL;

/// Every call that a daemon answers.
pub const RPCS: &[Rpc] = &[
    // MatcherService
    rpc("/fitment.v1.MatcherService/Match", "match", &[Reader, Publisher, Administrator], Reach::Component),
    rpc("/fitment.v1.MatcherService/BatchMatch", "match", &[Reader, Publisher, Administrator], Reach::Component),
    rpc("/fitment.v1.MatcherService/StreamMatch", "match", &[Reader, Publisher, Administrator], Reach::Component),
    rpc("/fitment.v1.MatcherService/Explain", "explain", &[Reader, Publisher, Administrator], Reach::Component),
    rpc("/fitment.v1.MatcherService/Embed", "embed", &[Reader, Publisher, Administrator], Reach::General),
    // CatalogService
    rpc(
        "/fitment.v1.CatalogService/CreateComponent",
        "create-component",
        &[Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/GetComponent",
        "read-component",
        &[Reader, Publisher, Certifier, Auditor, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/ListComponents",
        "read-component",
        &[Reader, Publisher, Certifier, Auditor, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/DeleteComponent",
        "delete-component",
        &[Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/UndeleteComponent",
        "undelete-component",
        &[Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/MoveComponent",
        "move-component",
        &[Publisher, Certifier, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/WatchCatalog",
        "watch-catalog",
        &[Reader, Publisher, Certifier, Auditor, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/CheckSchemaCompatibility",
        "compare-schemas",
        &[Reader, Publisher, Certifier, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CatalogService/ImportComponents",
        "create-component",
        &[Publisher, Administrator],
        Reach::Component,
    ),
    rpc("/fitment.v1.CatalogService/ExportCatalog", "export-catalog", &[Operator, Administrator], Reach::Whole),
    // CertificationService
    rpc("/fitment.v1.CertificationService/InstallTrustRoot", "install-trust-root", &[Administrator], Reach::Whole),
    rpc(
        "/fitment.v1.CertificationService/GetTrustRoot",
        "read-trust-root",
        &[Publisher, Certifier, Auditor, Operator, Administrator],
        Reach::Whole,
    ),
    rpc(
        "/fitment.v1.CertificationService/AddCertificate",
        "add-certificate",
        &[Certifier, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CertificationService/ListCertificates",
        "read-certificates",
        &[Reader, Publisher, Certifier, Auditor, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.CertificationService/RevokeCertificate",
        "revoke-certificate",
        &[Certifier, Administrator],
        Reach::Whole,
    ),
    rpc(
        "/fitment.v1.CertificationService/GetEvidence",
        "read-evidence",
        &[Publisher, Certifier, Auditor, Administrator],
        Reach::Whole,
    ),
    // FeedbackService
    rpc(
        "/fitment.v1.FeedbackService/RecordOutcome",
        "record-outcome",
        &[Reader, Publisher, Administrator],
        Reach::Component,
    ),
    rpc("/fitment.v1.FeedbackService/ListLabels", "read-labels", &[Publisher, Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.FeedbackService/ReviewLabels", "review-labels", &[Publisher, Administrator], Reach::Whole),
    rpc("/fitment.v1.FeedbackService/ExportLabels", "read-labels", &[Publisher, Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.FeedbackService/ProposeExamples", "propose-examples", &[Publisher, Administrator], Reach::Whole),
    rpc("/fitment.v1.FeedbackService/GetDrift", "read-drift", &[Auditor, Operator, Administrator], Reach::Whole),
    // GapService
    rpc("/fitment.v1.GapService/ListGaps", "read-gaps", &[Publisher, Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.GapService/GetGap", "read-gaps", &[Publisher, Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.GapService/DraftManifest", "draft-manifest", &[Publisher, Administrator], Reach::Whole),
    rpc("/fitment.v1.GapService/LinkGap", "link-gap", &[Publisher, Administrator], Reach::Whole),
    rpc("/fitment.v1.GapService/ReportGap", "report-gap", &[Publisher, Auditor, Administrator], Reach::Whole),
    // AssemblyService
    rpc(
        "/fitment.v1.AssemblyService/PlanAssembly",
        "plan-assembly",
        &[Reader, Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.AssemblyService/GetContextPack",
        "read-context-pack",
        &[Reader, Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.AssemblyService/BindConfiguration",
        "bind-configuration",
        &[Reader, Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.AssemblyService/GetConfigurationForm",
        "read-configuration-form",
        &[Reader, Publisher, Administrator],
        Reach::Component,
    ),
    rpc(
        "/fitment.v1.AssemblyService/CheckAssembly",
        "check-assembly",
        &[Reader, Publisher, Administrator],
        Reach::Whole,
    ),
    rpc("/fitment.v1.AssemblyService/LockAssembly", "lock-assembly", &[Reader, Publisher, Administrator], Reach::Whole),
    rpc(
        "/fitment.v1.AssemblyService/ReportAssembly",
        "report-assembly",
        &[Reader, Publisher, Auditor, Administrator],
        Reach::Whole,
    ),
    rpc("/fitment.v1.AssemblyService/RegisterAssembly", "register-assembly", &[Publisher, Administrator], Reach::Whole),
    rpc(
        "/fitment.v1.AssemblyService/GetAssembly",
        "read-assembly",
        &[Reader, Publisher, Auditor, Administrator],
        Reach::Whole,
    ),
    rpc(
        "/fitment.v1.AssemblyService/ListAssemblies",
        "read-assembly",
        &[Reader, Publisher, Auditor, Administrator],
        Reach::Whole,
    ),
    rpc("/fitment.v1.AssemblyService/DeleteAssembly", "delete-assembly", &[Publisher, Administrator], Reach::Whole),
    rpc(
        "/fitment.v1.AssemblyService/GetImpact",
        "read-impact",
        &[Publisher, Certifier, Auditor, Administrator],
        Reach::Whole,
    ),
    rpc(
        "/fitment.v1.AssemblyService/WatchAssemblies",
        "watch-assemblies",
        &[Reader, Publisher, Auditor, Administrator],
        Reach::Whole,
    ),
    rpc(
        "/fitment.v1.AssemblyService/UpgradeAssembly",
        "upgrade-assembly",
        &[Reader, Publisher, Administrator],
        Reach::Whole,
    ),
    rpc("/fitment.v1.AssemblyService/SetAssemblyPolicies", "set-assembly-policies", &[Administrator], Reach::Whole),
    rpc("/fitment.v1.AssemblyService/GetAssemblyPolicies", "read-assembly-policies", EVERYBODY, Reach::General),
    rpc(
        "/fitment.v1.AssemblyService/GetEconomics",
        "read-economics",
        &[Auditor, Operator, Administrator],
        Reach::Whole,
    ),
    // EvaluationService
    rpc("/fitment.v1.EvaluationService/Fit", "fit", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.EvaluationService/Calibrate", "calibrate", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.EvaluationService/Evaluate", "evaluate", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.EvaluationService/GetRanker", "read-ranker", &[Auditor, Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.EvaluationService/ListRankers", "read-ranker", &[Auditor, Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.EvaluationService/ActivateRanker", "activate-ranker", &[Operator, Administrator], Reach::Whole),
    rpc(
        "/fitment.v1.EvaluationService/GetCalibration",
        "read-calibration",
        &[Auditor, Operator, Administrator],
        Reach::Whole,
    ),
    // AuditService
    rpc("/fitment.v1.AuditService/ListAuditRecords", "read-audit", &[Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.AuditService/VerifyAudit", "verify-audit", &[Auditor, Administrator], Reach::Whole),
    rpc("/fitment.v1.AuditService/GetDecision", "read-decision", &[Auditor, Administrator], Reach::Whole),
    // SnapshotService
    rpc("/fitment.v1.SnapshotService/CreateSnapshot", "create-snapshot", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.SnapshotService/ListSnapshots", "list-snapshots", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.SnapshotService/VerifySnapshot", "verify-snapshot", &[Operator, Administrator], Reach::Whole),
    // BundleService
    rpc("/fitment.v1.BundleService/ExportBundle", "export-bundle", &[Operator, Administrator], Reach::Whole),
    rpc("/fitment.v1.BundleService/ImportBundle", "import-bundle", &[Operator, Administrator], Reach::Whole),
    // ModelService
    rpc("/fitment.v1.ModelService/MigrateModel", "migrate-model", &[Operator, Administrator], Reach::Whole),
    // InfoService
    rpc("/fitment.v1.InfoService/GetServerInfo", "read-server-info", EVERYBODY, Reach::Open),
    // Health and reflection, which other protocols describe.
    rpc("/grpc.health.v1.Health/Check", "health", EVERYBODY, Reach::Open),
    rpc("/grpc.health.v1.Health/Watch", "health", EVERYBODY, Reach::Open),
    rpc("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "reflect", EVERYBODY, Reach::Open),
    rpc("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflect", EVERYBODY, Reach::Open),
];

/// Every finer question.
pub const STEPS: &[Step] = &[Step {
    action: CERTIFY_COMPONENT,
    when: "a version is moved to `certified`, or is written or imported as `certified` or `deprecated`",
    roles: &[Certifier, Administrator],
    reach: Reach::Component,
}];

/// The call of a path; `None` where no daemon answers it.
pub fn rpc_of(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.path == path)
}

/// Whether a call is answered before it is known who asks: health, which load balancers ask for.
pub fn needs_no_principal(path: &str) -> bool {
    rpc_of(path).is_some_and(|rpc| rpc.action == "health")
}

/// What decides about an action, wherever it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) action: &'static str,
    pub(crate) roles: &'static [Role],
    pub(crate) reach: Reach,
}

impl From<&Rpc> for Asked {
    fn from(rpc: &Rpc) -> Self {
        Self { action: rpc.action, roles: rpc.roles, reach: rpc.reach }
    }
}

impl From<&Step> for Asked {
    fn from(step: &Step) -> Self {
        Self { action: step.action, roles: step.roles, reach: step.reach }
    }
}
