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
	// the audit log. While a rollout of the channel is active that is
	// fault.Conflict, rollout_active.
	SetChannel(ctx context.Context, by audit.Actor, agent ids.Agent, name, version string, at time.Time) (Channel, error)
	// DeleteChannel removes a channel, as SetChannel.
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

// RunBodies changes what is kept of runs besides their record.
type RunBodies interface {
	// DecideRun records a decision about a run that waits for an approval, with
	// the input that the approver put in place of the caller's (nil: none), and
	// makes the run due for dispatch. The same decision with the same input again
	// changes nothing. Errors as [Run.Decide].
	DecideRun(ctx context.Context, id ids.Run, d Decision, by, note string, input []byte, at time.Time) (Run, error)
	// OriginalInput loads the input as the caller sent it.
	OriginalInput(ctx context.Context, id ids.Run) ([]byte, error)
	// RetentionDue lists up to limit runs that have a body to be removed, the
	// longest due first; one that was postponed is due from then on.
	RetentionDue(ctx context.Context, now time.Time, limit int) ([]Run, error)
	// DataRemoved records that the bodies of a run that were due at a time are
	// removed; the input goes with it, and with output or log the messages that may
	// be the agent's, also from deliveries. The record stays.
	DataRemoved(ctx context.Context, id ids.Run, at time.Time) error
	// PostponeRemoval keeps a run out of RetentionDue until a time: its bodies could
	// not be removed. They stay due.
	PostponeRemoval(ctx context.Context, id ids.Run, until time.Time) error
	// Children lists the runs that a run started, oldest first.
	Children(ctx context.Context, parent ids.Run, after ids.Run, limit int) ([]Run, error)
}

// QueueStore keeps the slots of runs that go on, and the queue of those that wait
// for one. A slot is taken with the first attempt of a run
// (marketplace.Settlements.AdmitRun), kept for all of them, and handed to the next
// run when the run is settled.
type QueueStore interface {
	// Waiting says where a run stands in the queue; nil: it does not wait.
	Waiting(ctx context.Context, run ids.Run) (*Wait, error)
	// Granted takes up to limit runs that were given a slot and have not been
	// told of it, and makes them due again after the lease.
	Granted(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]ids.Run, error)
	// Told says that the workflow of a run has been told of its slot.
	Told(ctx context.Context, run ids.Run) error
	// RepairSlots ends the slots and places of runs that have ended, and sets
	// counts right that are not those of the slots. It returns the runs that were
	// given a slot by it.
	RepairSlots(ctx context.Context, now time.Time) (Repair, []ids.Run, error)
}

// LimitStore keeps the limits of scopes.
type LimitStore interface {
	// SetLimit stores a limit, and writes an entry of the audit log of org (empty:
	// of the platform). It returns the runs that were given a slot by it.
	SetLimit(ctx context.Context, by audit.Actor, org ids.Org, l Limit) ([]ids.Run, error)
	// DeleteLimit removes a limit, as SetLimit; fault.NotFound.
	DeleteLimit(ctx context.Context, by audit.Actor, org ids.Org, s Scope, at time.Time) ([]ids.Run, error)
	// Limits finds the limits of scopes and what their runs use. Scopes without a
	// limit are left out, but for quotas: theirs is the default.
	Limits(ctx context.Context, scopes []Scope, now time.Time) ([]Limit, []Usage, error)
	// LimitsOf lists the limits of an organization for itself: organization,
	// teams and users.
	LimitsOf(ctx context.Context, org ids.Org) ([]Limit, error)
}

// PolicyStore keeps policies.
type PolicyStore interface {
	// SetPolicy stores a policy in the place of the one there, and writes an entry
	// of the audit log.
	SetPolicy(ctx context.Context, by audit.Actor, p Policy) error
	// DeletePolicy removes a policy, as SetPolicy; fault.NotFound.
	DeletePolicy(ctx context.Context, by audit.Actor, s PolicyScope, at time.Time) error
	// Policy finds a policy; fault.NotFound.
	Policy(ctx context.Context, s PolicyScope) (Policy, error)
	// Policies lists those of an organization; of the platform where it is empty.
	Policies(ctx context.Context, org ids.Org) ([]Policy, error)
	// PoliciesFor finds the policies that decide about a run, in the order
	// platform, organization, team (empty: none), agent.
	PoliciesFor(ctx context.Context, org ids.Org, team ids.Team, agent ids.Agent) ([]Policy, error)
}

// RolloutStore keeps rollouts.
type RolloutStore interface {
	// CreateRollout stores a rollout, due for dispatch, and points its channel at
	// From. A second active one of the channel is fault.Conflict, rollout_active.
	CreateRollout(ctx context.Context, by audit.Actor, r Rollout) error
	// Rollout finds a rollout.
	Rollout(ctx context.Context, id ids.Rollout) (Rollout, error)
	// ActiveRollouts finds the active rollouts of an agent.
	ActiveRollouts(ctx context.Context, agent ids.Agent) ([]Rollout, error)
	// Rollouts lists the rollouts of an agent, newest first.
	Rollouts(ctx context.Context, agent ids.Agent, before ids.Rollout, limit int) ([]Rollout, error)
	// UpdateRollout changes a rollout in one transaction. One that change left
	// completed points its channel at To. It is due for dispatch where dispatch
	// says so. An error of change is returned as it is.
	UpdateRollout(ctx context.Context, by audit.Actor, id ids.Rollout, action string, dispatch bool, change func(*Rollout) error) (Rollout, error)
	// Samples sums up the samples of both versions of a rollout: runs that were
	// created since it was, and have ended.
	Samples(ctx context.Context, r Rollout) (map[ids.Version]OrgSamples, error)
	// DueRollouts and RolloutDispatched are as ClaimDispatch and Dispatched of
	// runs.
	DueRollouts(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Rollout, error)
	RolloutDispatched(ctx context.Context, seen Rollout) error
}

// WebhookStore keeps endpoints and deliveries. A delivery is stored by the
// transaction that changes the run (see UpdateRun), due for dispatch.
type WebhookStore interface {
	// CreateEndpoint stores an endpoint; beyond MaxEndpoints fault.Conflict,
	// too_many_endpoints.
	CreateEndpoint(ctx context.Context, by audit.Actor, e Endpoint) error
	// Endpoint finds an endpoint.
	Endpoint(ctx context.Context, id ids.Endpoint) (Endpoint, error)
	// RunEndpoint finds the endpoint that came with the start of a run; without one
	// fault.NotFound.
	RunEndpoint(ctx context.Context, org ids.Org, run ids.Run) (Endpoint, error)
	// Endpoints lists the endpoints of an organization, without those of runs.
	Endpoints(ctx context.Context, org ids.Org) ([]Endpoint, error)
	// UpdateEndpoint changes an endpoint; DeleteEndpoint removes it and fails its
	// open deliveries.
	UpdateEndpoint(ctx context.Context, by audit.Actor, org ids.Org, id ids.Endpoint, change func(*Endpoint) error) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, by audit.Actor, org ids.Org, id ids.Endpoint, at time.Time) error
	// RemoveRunEndpoints removes endpoints of runs that ended before a time and that
	// have no deliveries any more, oldest first, and returns how many.
	RemoveRunEndpoints(ctx context.Context, before time.Time, limit int) (int, error)
}

// DeliveryStore keeps the messages to endpoints.
type DeliveryStore interface {
	// CreateDelivery stores a delivery: a test, or one that is sent again; beyond
	// MaxPendingDeliveries fault.RateLimited, too_many_deliveries.
	CreateDelivery(ctx context.Context, d Delivery) error
	// Delivery finds a delivery with its tries.
	Delivery(ctx context.Context, id ids.Delivery) (Delivery, error)
	// Deliveries lists those to an endpoint, newest first, without tries.
	Deliveries(ctx context.Context, endpoint ids.Endpoint, before ids.Delivery, limit int) ([]Delivery, error)
	// RecordTry stores a try (one without a number is none), and the end of the
	// delivery where status is one. A delivery that has ended stays as it is.
	RecordTry(ctx context.Context, id ids.Delivery, t DeliveryTry, status DeliveryStatus) error
	// DueDeliveries is as ClaimDispatch of runs.
	DueDeliveries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Delivery, error)
	// DeliveryDispatched says that the workflow of a delivery was started. One that
	// has not ended by then is due again: it may be lost.
	DeliveryDispatched(ctx context.Context, id ids.Delivery, again time.Time) error
	// RemoveDeliveries removes deliveries that were made before a time and have
	// ended, oldest first, and returns how many.
	RemoveDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
}

// ScheduleStore keeps schedules. Temporal has a copy of each; the record is the
// authority.
type ScheduleStore interface {
	// CreateSchedule stores a schedule, due for dispatch; beyond MaxSchedules
	// fault.Conflict, too_many_schedules.
	CreateSchedule(ctx context.Context, by audit.Actor, s Schedule) error
	// Schedule finds a schedule; one that was deleted is fault.NotFound.
	Schedule(ctx context.Context, id ids.Schedule) (Schedule, error)
	// Schedules lists the schedules of an organization, newest first, without
	// inputs.
	Schedules(ctx context.Context, org ids.Org, before ids.Schedule, limit int) ([]Schedule, error)
	// UpdateSchedule changes a schedule of an organization, and makes it due for
	// dispatch where more than LastSkip is another. Starts that it asks for are in
	// the audit log, also where nothing is another. An error of change is returned
	// as it is.
	UpdateSchedule(ctx context.Context, by audit.Actor, org ids.Org, id ids.Schedule, change func(*Schedule) error) (Schedule, error)
	// DeleteSchedule marks a schedule as deleted, due for dispatch. Its runs stay.
	DeleteSchedule(ctx context.Context, by audit.Actor, org ids.Org, id ids.Schedule, at time.Time) error
	// ScheduleSpend is what the runs of a schedule cost and may still cost that were
	// created in the calendar month of a time, in micro-units. A run counts with what
	// it cost, with what is held for it, or with the MaxCost of its request.
	// CreateRun makes no run beyond the budget of its month, and AdmitRun none whose
	// hold is: fault.PaymentRequired, schedule_budget_reached.
	ScheduleSpend(ctx context.Context, id ids.Schedule, month time.Time) (int64, error)
	// DueSchedules, deleted ones too and without inputs, and ScheduleDispatched are
	// as ClaimDispatch and Dispatched of runs. Telling of an older revision than the
	// stored one makes the schedule due again: it may have been told last.
	DueSchedules(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Schedule, error)
	ScheduleDispatched(ctx context.Context, seen Schedule) error
}

// ControlStore is everything of this layer besides agents and runs.
type ControlStore interface {
	QueueStore
	LimitStore
	PolicyStore
	RolloutStore
	WebhookStore
	DeliveryStore
	ScheduleStore
	DoctorStore
	ToolServerStore
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
	// Statuses select runs as they are stored, and with StatusWaitingInput those that
	// are shown so at the time At.
	Statuses      []Status
	At            time.Time
	Agent         string // publisher/name
	CreatedAfter  time.Time
	CreatedBefore time.Time
	Labels        map[string]string
	ScheduleID    ids.Schedule
	Before        ids.Run // page cursor: only runs older than this one
	Limit         int
}
