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
	"agentmarket/product"
)

type startRunRequest struct {
	Input               json.RawMessage   `json:"input" doc:"Any JSON value that matches the agent's input schema; at most 896 KiB." example:"{\"prompt\": \"hello world\"}"`
	Version             string            `json:"version,omitempty" maxLength:"64" doc:"A number, or latest, which is the default. It is pinned now." example:"latest"`
	RunTimeoutSeconds   int64             `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"Bounds the agent's process. Default, and at most: what the agent's manifest says."`
	QueueTimeoutSeconds int64             `json:"queue_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"After it the run expires instead of starting. Default: one hour."`
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
	key, err := idempotencyKey(http.MethodPost, r)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(in.Body.Labels); err != nil {
		return nil, err
	}
	run, created, err := a.start(ctx, start{
		publisher: in.Publisher, name: in.Name, version: orLatest(in.Body.Version),
		input: in.Body.Input, labels: in.Body.Labels, key: key,
		request: product.Request{
			RunTimeout:   time.Duration(in.Body.RunTimeoutSeconds) * time.Second,
			QueueTimeout: time.Duration(in.Body.QueueTimeoutSeconds) * time.Second,
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
// the same request made before.
func (a *app) start(ctx context.Context, s start) (product.Run, bool, error) {
	agent, entitlement, err := a.visibleAgent(ctx, s.publisher, s.name)
	if err != nil {
		return product.Run{}, false, err
	}
	version, err := a.version(ctx, agent, s.version)
	if err != nil {
		return product.Run{}, false, err
	}
	now := a.Now()
	if err := entitlement.Check(now); err != nil {
		p := problemFrom(err)
		p.Next = a.whereToGet(agent)
		return product.Run{}, false, p
	}
	if err := checkInput(version, s.input); err != nil {
		return product.Run{}, false, err
	}
	queue := s.request.QueueTimeout
	if queue == 0 {
		queue = product.DefaultQueueTimeout
	}
	from := requestOf(ctx).caller
	run, created, err := a.Runs.CreateRun(ctx, product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: from.org, KeyID: from.key,
		AgentID: agent.ID, Agent: agent.FullName(),
		VersionID: version.ID, Version: version.Number, Image: version.Image,
		Status: product.StatusQueued, Labels: s.labels, Request: s.request,
		CreatedAt: now, QueueDeadline: now.Add(queue),
	}, s.input, s.key)
	if err != nil {
		return product.Run{}, false, err
	}
	if created || run.Status == product.StatusQueued {
		a.dispatch(ctx, run)
	}
	return run, created, nil
}

// whereToGet is where the right to an agent can be had.
func (a *app) whereToGet(agent product.Agent) string {
	if a.WebURL != "" {
		return a.WebURL + "/agents/" + agent.FullName()
	}
	return agentPath(agent.Publisher, agent.Name)
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
