package product

import (
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// PolicyScope is whose policy it is: the platform's (OrgID empty), an
// organization's, that of one of its teams, or that of an organization for one
// agent that it uses.
type PolicyScope struct {
	Kind  ScopeKind // platform, organization, team or agent
	OrgID ids.Org
	ID    string // of the team or the agent
}

// Policy narrows what may run. Of several policies the strictest wins: lists
// intersect, the lowest ceiling holds, one that asks for an approval is enough.
// Zero values say nothing.
type Policy struct {
	Scope PolicyScope
	// Agents that may run: publisher/name, or publisher/* for all of a publisher.
	// Nil: all; empty: none.
	Agents []string
	// MaxResources refuse a version that asks for more.
	MaxResources Resources
	// DefaultResources are what a run gets that names no resources itself, where
	// the manifest asks for more.
	DefaultResources Resources
	// MaxRun and MaxQueue shorten, DefaultRun and DefaultQueue are for callers who
	// name nothing.
	MaxRun, MaxQueue         time.Duration
	DefaultRun, DefaultQueue time.Duration
	// Tier is the least isolation.
	Tier Tier
	// Tools, Models, Secrets, SecretFiles and Egress that versions may ask for. Nil: all; empty: none.
	// A tool or a model may be a prefix that ends with *; hosts are as in manifests.
	Tools, Models, Secrets, SecretFiles, Egress []string
	// Modes in which runs may be started. Nil: all.
	Modes []Mode
	// ApprovalAbove makes a person approve a run that may cost more. Zero
	// currency: none.
	ApprovalAbove money.Amount
	// ApprovalAgents make a person approve every run of them, as in Agents.
	ApprovalAgents []string
	// KeepInput, KeepOutput and KeepLog are how long the bodies of a run are kept
	// after its end.
	KeepInput, KeepOutput, KeepLog time.Duration
	// Warm is how many places are kept ready for the next run of a version.
	Warm int

	UpdatedBy string
	UpdatedAt time.Time
}

// Tier is how well a run is kept apart from the rest of its computer.
type Tier string

// The tiers, the stronger one last.
const (
	TierStandard  Tier = "standard"
	TierSandboxed Tier = "sandboxed" // a runtime with a kernel of its own
)

// Mode is how a run was started.
type Mode string

// The modes.
const (
	ModeAsync Mode = "async"
	ModeSync  Mode = "sync" // the caller keeps the connection open
)
