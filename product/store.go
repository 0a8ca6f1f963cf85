package product

import (
	"context"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
)

// AgentStore keeps the agent registry. "Not found" is fault.NotFound, a
// database that cannot answer is fault.Unavailable.
type AgentStore interface {
	// AddVersion stores a version and, with the first one, its agent. Adding
	// the same content again returns the stored version and false; another
	// content under a number that is taken is fault.Conflict. Agent.ID and
	// Version.AgentID are those of the stored agent in what is returned. What is
	// stored is written to the audit log.
	AddVersion(ctx context.Context, by audit.Actor, a Agent, v Version) (Agent, Version, bool, error)
	// AgentByName finds an agent by publisher and name.
	AgentByName(ctx context.Context, publisher, name string) (Agent, error)
	// AgentsFor lists the agents that an organization has an entitlement for,
	// newest first. What it owns or ordered stays; a grant and a free right that
	// are expired or revoked no more count.
	AgentsFor(ctx context.Context, org ids.Org, q AgentQuery) ([]Agent, error)
	// Version finds a version by identifier.
	Version(ctx context.Context, id ids.Version) (Version, error)
	// VersionByNumber finds a version by number; "latest" is the newest one
	// that is not a pre-release, or the newest one at all.
	VersionByNumber(ctx context.Context, agent ids.Agent, number string) (Version, error)
	// Versions lists the versions of an agent, newest first.
	Versions(ctx context.Context, agent ids.Agent, before ids.Version, limit int) ([]Version, error)
}

// AgentNames keeps the names of agents before they have a version.
type AgentNames interface {
	// EnsureAgent creates an agent without any version, with an entry of the
	// audit log, or returns the one that is there. A name of another organization
	// is fault.Conflict with the code agent_taken.
	EnsureAgent(ctx context.Context, by audit.Actor, a Agent) (Agent, error)
	// AgentsByID finds many agents. Those that do not exist are left out.
	AgentsByID(ctx context.Context, agents []ids.Agent) (map[ids.Agent]Agent, error)
}

// ChannelStore keeps the channels of agents. What does not exist is
// fault.NotFound.
type ChannelStore interface {
	// SetChannel points a channel of an agent at one of its versions, by
	// number, and makes the channel where there is none. It writes an entry of
	// the audit log.
	SetChannel(ctx context.Context, by audit.Actor, agent ids.Agent, name, version string, at time.Time) (Channel, error)
	// DeleteChannel removes a channel, and writes an entry of the audit log.
	DeleteChannel(ctx context.Context, by audit.Actor, agent ids.Agent, name string, at time.Time) error
	// Channels lists the channels of an agent by name.
	Channels(ctx context.Context, agent ids.Agent) ([]Channel, error)
	// Resolve finds a version of an agent: by number, by the name of a channel,
	// or "latest" as in VersionByNumber. Without a channel of that name,
	// "stable" is "latest".
	Resolve(ctx context.Context, agent ids.Agent, version string) (Version, error)
	// Heads finds the versions that many channels point at, of whatever agents,
	// as Resolve does. Channels that do not exist are left out.
	Heads(ctx context.Context, channels []ChannelName) (map[ChannelName]Version, error)
}

// Latest is the name of the newest version.
const Latest = "latest"

// AgentQuery selects a page of agents.
type AgentQuery struct {
	Text   string    // part of the name or summary, any case; empty: all
	Before ids.Agent // page cursor: only agents older than this one
	Limit  int
	At     time.Time // when the organization must have the rights
}

// RunStore keeps the execution records.
type RunStore interface {
	// CreateRun stores a run that is queued, its input and its first event in
	// one transaction, due for dispatch a moment later: the process that
	// stored it tells the engine first. With a key that the organization has
	// used before it returns the run of that key and false when the
	// fingerprint of the request is the same, else fault.Invalid with the
	// code idempotency_key_reused.
	CreateRun(ctx context.Context, r Run, input []byte, key *IdempotencyKey) (Run, bool, error)
	// Run loads a run with its attempts.
	Run(ctx context.Context, id ids.Run) (Run, error)
	// Input loads the input of a run.
	Input(ctx context.Context, id ids.Run) ([]byte, error)
	// UpdateRun changes a run in one transaction: it locks and loads it with
	// its attempts, calls change, and stores what change left, with the
	// events that it returned (nil ones are dropped). change may run more
	// than once. An error of change is returned as it is and nothing is
	// stored.
	UpdateRun(ctx context.Context, id ids.Run, change func(*Run) ([]*Event, error)) (Run, error)
	// Runs lists the runs of an organization, newest first, without attempts.
	Runs(ctx context.Context, org ids.Org, q RunQuery) ([]Run, error)
	// Events lists a run's events after a sequence number, oldest first.
	Events(ctx context.Context, id ids.Run, after int64, limit int) ([]Event, error)
	// ClaimDispatch takes up to limit runs that are due to be told to the
	// workflow engine (started or canceled) and makes them due again after
	// the lease. Two claimers never get the same run within a lease.
	ClaimDispatch(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Run, error)
	// Dispatched says that the engine knows everything that was stored of the
	// run when seen was loaded; a later request to cancel stays due.
	Dispatched(ctx context.Context, seen Run) error
}

// RunKeys finds runs by the requests that made them.
type RunKeys interface {
	// RunOfKey finds the run that a request with the key made before:
	// fault.NotFound for a key that is new, fault.Invalid with the code
	// idempotency_key_reused for one that came with another request.
	RunOfKey(ctx context.Context, org ids.Org, key IdempotencyKey) (Run, error)
}

// IdempotencyKey names a request to start a run, within an organization and for
// good: the row lives as long as the run.
type IdempotencyKey struct {
	Key         string
	Fingerprint string // hash of the request; the same key with another one is refused
}

// RunQuery selects a page of runs. Zero values select everything.
type RunQuery struct {
	Statuses      []Status
	Agent         string // publisher/name
	CreatedAfter  time.Time
	CreatedBefore time.Time
	Labels        map[string]string
	Before        ids.Run // page cursor: only runs older than this one
	Limit         int
}
