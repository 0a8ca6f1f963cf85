package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

type startRunRequest struct {
	Input               json.RawMessage   `json:"input" doc:"Any JSON value that matches the agent's input schema; at most 896 KiB." example:"{\"prompt\": \"hello world\"}"`
	Version             string            `json:"version,omitempty" maxLength:"64" doc:"A number, a channel, or latest; it is pinned now. Default: what your organization has installed, or else the channel stable; for the publisher latest." example:"1.2.0"`
	RunTimeoutSeconds   int64             `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"Bounds the agent's process. Default, and at most: what the agent's manifest says."`
	QueueTimeoutSeconds int64             `json:"queue_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"After it the run expires instead of starting. Default: one hour."`
	MaxCost             *amountBody       `json:"max_cost,omitempty" doc:"The run ends as budget_exhausted rather than cost more."`
	Labels              map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"For finding runs again. Keys: 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first. Values: at most 256 bytes."`
}

type startRunInput struct {
	Publisher      string `path:"publisher" doc:"The organization that publishes the agent." example:"acme"`
	Name           string `path:"name" example:"greeter"`
	IdempotencyKey string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters: the same key and the same request give the same run, for as long as the run is kept."`
	Prefer         string `header:"Prefer" doc:"wait, or wait=N with N from 1 to 60 (RFC 7240)." example:"wait=10"`
	Body           startRunRequest
}

type startRunAnswer struct {
	Status            int
	Location          string `header:"Location" doc:"The run."`
	PreferenceApplied string `header:"Preference-Applied" doc:"The wait that was honored."`
	Replayed          string `header:"Idempotency-Replayed" doc:"true when the run was there before."`
	Body              runBody
}

const (
	maxLabels     = 32
	maxLabelValue = 256
	// engineBudget is how long a request waits for the engine to hear of it.
	engineBudget = 2 * time.Second
)

var labelKey = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62})$`)

// start is a request to start a run, read and well-formed.
type start struct {
	publisher, name string
	version         string
	input           []byte
	request         product.Request
	labels          map[string]string
	key             *product.IdempotencyKey
}

func (a *app) startRun(ctx context.Context, in *startRunInput) (*startRunAnswer, error) {
	r := requestOf(ctx)
	key, err := idempotencyKey(r)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(in.Body.Labels); err != nil {
		return nil, err
	}
	var most money.Amount
	if in.Body.MaxCost != nil {
		if most, err = a.amount(*in.Body.MaxCost, "/max_cost"); err != nil {
			return nil, err
		}
	}
	run, created, err := a.start(ctx, start{
		publisher: in.Publisher, name: in.Name, version: in.Body.Version,
		input: in.Body.Input, labels: in.Body.Labels, key: key,
		request: product.Request{
			RunTimeout:   time.Duration(in.Body.RunTimeoutSeconds) * time.Second,
			QueueTimeout: time.Duration(in.Body.QueueTimeoutSeconds) * time.Second,
			MaxCost:      most,
		},
	})
	if err != nil {
		return nil, err
	}
	answer := &startRunAnswer{Status: http.StatusAccepted, Location: runPath(run)}
	if !created {
		answer.Replayed = "true"
	}
	if wait := preferredWait(r.header); wait > 0 {
		answer.PreferenceApplied = fmt.Sprintf("wait=%d", wait/time.Second)
		r.extend(wait + writeTimeout)
		run = a.awaitEnd(ctx, run, wait)
		if run.Status.Terminal() {
			answer.Status = http.StatusCreated
		}
	}
	answer.Body = a.runWhole(ctx, run)
	return answer, nil
}

// start checks who may run what with which input, stores the run, and tells the
// engine. From the moment that the run is stored nothing that happens to this
// request or to the engine stops it. The second result is false for a run that
// the same request made before, whatever has happened to the right since.
//
// The check here spares a denied caller a run that would be rejected; the one of
// the workflow decides.
func (a *app) start(ctx context.Context, s start) (product.Run, bool, error) {
	from := requestOf(ctx).caller
	if s.key != nil {
		run, err := a.Runs.RunOfKey(ctx, from.OrgID, *s.key)
		if err == nil {
			return a.startedBefore(ctx, run)
		}
		if !fault.Is(err, fault.NotFound) {
			return product.Run{}, false, err
		}
	}
	agent, version, err := a.admissible(ctx, s)
	if err != nil {
		return product.Run{}, false, err
	}
	queue := s.request.QueueTimeout
	if queue == 0 {
		queue = product.DefaultQueueTimeout
	}
	now := a.Now()
	run, created, err := a.Runs.CreateRun(ctx, product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: from.OrgID, KeyID: from.KeyID, UserID: from.UserID,
		AgentID: agent.ID, Agent: agent.FullName(),
		VersionID: version.ID, Version: version.Number, Image: version.Image,
		Status: product.StatusQueued, Labels: s.labels, Request: s.request,
		CreatedAt: now, QueueDeadline: now.Add(queue),
	}, s.input, s.key)
	if err != nil {
		return product.Run{}, false, err
	}
	if !created {
		return a.startedBefore(ctx, run)
	}
	a.dispatch(ctx, run)
	return run, true, nil
}

func (a *app) startedBefore(ctx context.Context, run product.Run) (product.Run, bool, error) {
	if run.Status == product.StatusQueued {
		a.dispatch(ctx, run)
	}
	return run, false, nil
}

// admissible finds what is to run, and checks the right, the money and the input.
func (a *app) admissible(ctx context.Context, s start) (product.Agent, product.Version, error) {
	agent, claim, err := a.claim(ctx, s.publisher, s.name)
	if err != nil {
		return product.Agent{}, product.Version{}, err
	}
	version, err := a.version(ctx, agent, claim, s.version)
	if fault.Is(err, fault.NotFound) { // a preview: the right comes first
		if _, denial := claim.Decide(marketplace.Subject{MaxCost: s.request.MaxCost}, a.Now()); denial != nil {
			return product.Agent{}, product.Version{}, a.denied(ctx, agent, denial)
		}
	}
	if err != nil {
		return product.Agent{}, product.Version{}, err
	}
	who, now := requestOf(ctx).caller, a.Now()
	spending, err := a.spendingFor(ctx, claim)
	if err != nil {
		return product.Agent{}, product.Version{}, err
	}
	trial := product.Run{OrgID: who.OrgID, UserID: who.UserID, Request: s.request}
	if _, err := claim.Admit(trial, marketplace.SubjectOf(version, s.request, a.Limits), spending, a.Policy, now); err != nil {
		return product.Agent{}, product.Version{}, a.denied(ctx, agent, err)
	}
	return agent, version, checkInput(version, s.input)
}

// spendingFor reads the spend limits where money may be spent.
func (a *app) spendingFor(ctx context.Context, claim marketplace.Claim) (marketplace.Spending, error) {
	if claim.OrgID == claim.Publisher || claim.Price == nil && len(claim.Entitlements) == 0 {
		return marketplace.Spending{}, nil
	}
	return a.Marketplace.Spending(ctx, claim.OrgID, requestOf(ctx).caller.UserID, marketplace.MonthOf(a.Now()))
}

// dispatch tells the engine what is stored of a run, within a short budget and
// whether or not the client is still there. What it cannot say stays due in the
// store, and the relay says it.
func (a *app) dispatch(ctx context.Context, run product.Run) {
	detached := context.WithoutCancel(ctx)
	engine, cancel := context.WithTimeout(detached, engineBudget)
	defer cancel()
	err := a.Engine.StartRun(engine, run)
	if err == nil && run.Cancel != nil {
		if err = a.Engine.CancelRun(engine, run); fault.Is(err, fault.NotFound) {
			err = nil // it has ended
		}
	}
	if err == nil {
		store, cancel := context.WithTimeout(detached, engineBudget)
		defer cancel()
		err = a.Runs.Dispatched(store, run)
	}
	if err != nil {
		a.Log.WarnContext(ctx, "run left to the relay", "run_id", run.ID, "error", err,
			"request_id", requestOf(ctx).id)
	}
}

// awaitEnd waits for the end of a run and returns its record as it is then, or
// as it was when the time was up. An engine that does not answer, or has not
// heard of the run yet, is asked again.
func (a *app) awaitEnd(ctx context.Context, run product.Run, wait time.Duration) product.Run {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := shortPause; !run.Status.Terminal(); pause = longer(pause) {
		err := a.Engine.WaitRun(waiting, run.ID)
		// The last look is worth it when the time is up, too.
		if seen, lookErr := a.Runs.Run(ctx, run.ID); lookErr == nil {
			run = seen
		}
		if run.Status.Terminal() || waiting.Err() != nil {
			break
		}
		if err != nil {
			a.Log.DebugContext(ctx, "wait for the end of a run interrupted", "run_id", run.ID, "error", err)
		}
		if sleep(waiting, pause) != nil {
			break
		}
	}
	return run
}

func checkLabels(labels map[string]string) error {
	var fields []fault.Field
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := pointer("labels", key)
		if !labelKey.MatchString(key) {
			fields = append(fields, fault.Field{Pointer: at, Message: "is not named by 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first"})
		}
		if len(labels[key]) > maxLabelValue {
			fields = append(fields, fault.Field{Pointer: at, Message: fmt.Sprintf("must have at most %d bytes", maxLabelValue)})
		}
	}
	if len(fields) > 0 {
		return requestInvalid(fields...)
	}
	return nil
}
