package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// checkTimeout bounds one check of GET /readyz.
const checkTimeout = 2 * time.Second

type healthBody struct {
	Status  string `json:"status" example:"ok"`
	Name    string `json:"name" example:"agentmarket"`
	Version string `json:"version" example:"v1.2.0"`
}

type readyBody struct {
	Status string            `json:"status" example:"ready"`
	Checks map[string]string `json:"checks" doc:"ok for each dependency, by name."`
	Tiers  map[string]string `json:"tiers,omitempty" doc:"What the doctor found of each tier: ok, or why it is refused. The server is ready all the same."`
}

func (a *app) routeHealth() {
	type nothing struct{}
	type healthAnswer struct{ Body healthBody }
	type readyAnswer struct{ Body readyBody }

	handle(a, route{
		id: "health", method: http.MethodGet, path: "/health", tag: tagHealth, access: public,
		summary: "Say that the server is there", description: "Asks nothing of anybody; see /readyz.",
	}, func(context.Context, *nothing) (*healthAnswer, error) {
		return &healthAnswer{healthBody{Status: "ok", Name: "agentmarket", Version: a.Version}}, nil
	})
	handle(a, route{
		id: "livez", method: http.MethodGet, path: "/livez", tag: tagHealth, access: public,
		summary: "Say whether the process lives", description: "For liveness probes.",
	}, func(context.Context, *nothing) (*healthAnswer, error) {
		return &healthAnswer{healthBody{Status: "ok", Name: "agentmarket", Version: a.Version}}, nil
	})
	handle(a, route{
		id: "readyz", method: http.MethodGet, path: "/readyz", tag: tagHealth, access: public,
		summary:     "Say whether the server and what it needs are ready",
		description: "For readiness probes. 503 names the dependencies that do not answer.",
		problems:    []string{"not_ready"},
	}, func(ctx context.Context, _ *nothing) (*readyAnswer, error) {
		ready, failed := a.ready(ctx)
		if len(failed) > 0 {
			p := newProblem(http.StatusServiceUnavailable, "not_ready", "not ready: "+strings.Join(failed, ", ")).
				with("Retry-After", "2")
			for _, name := range failed {
				p.Errors = append(p.Errors, fieldProblem{Pointer: name, Message: "does not answer"})
			}
			return nil, p
		}
		body := readyBody{Status: "ready", Checks: ready}
		for tier, detail := range a.Limits.Tiers.Detail() {
			if body.Tiers == nil {
				body.Tiers = map[string]string{}
			}
			body.Tiers[string(tier)] = detail
		}
		return &readyAnswer{body}, nil
	})
}

// ready asks every dependency at once and returns the names of those that do
// not answer in time. What they say goes to the log only.
func (a *app) ready(ctx context.Context) (ready map[string]string, failed []string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	type answer struct {
		name string
		err  error
	}
	answers := make(chan answer, len(a.Checks)) // with room: a late one must not block
	for name, check := range a.Checks {
		go func() {
			defer func() {
				if recovered := recover(); recovered != nil {
					answers <- answer{name, fmt.Errorf("check panicked: %v", recovered)}
				}
			}()
			answers <- answer{name, check(ctx)}
		}()
	}
	ready = map[string]string{}
	pending := maps.Clone(a.Checks)
	for len(pending) > 0 {
		select {
		case got := <-answers:
			delete(pending, got.name)
			if got.err == nil {
				ready[got.name] = "ok"
				continue
			}
			failed = append(failed, got.name)
			a.Log.WarnContext(ctx, "dependency not ready", "dependency", got.name, "error", got.err,
				"request_id", requestOf(ctx).id)
		case <-ctx.Done(): // a check that does not obey its context
			failed = append(failed, slices.Collect(maps.Keys(pending))...)
			pending = nil
		}
	}
	slices.Sort(failed)
	return ready, failed
}
