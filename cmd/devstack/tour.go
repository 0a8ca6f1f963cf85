package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"agentmarket/money"
)

// tour uses the platform as its users do: over HTTP.
type tour struct {
	options    stackOptions
	images     map[string]string
	keys       seeded
	key        string // of whom calls are made for
	kubeconfig string
	say        *progress
}

// as is the tour of somebody else.
func (t tour) as(key string) tour {
	t.key = key
	return t
}

// document is what summarize reads on the tour.
const document = "examples/agents/summarize/testdata/federalist-10.txt"

func (t tour) run(ctx context.Context) error {
	if err := t.untilUp(ctx); err != nil {
		return err
	}
	for _, agent := range []string{"hello", "summarize", "wordcount"} {
		if err := t.register(ctx, agent); err != nil {
			return fmt.Errorf("register %s: %w", agent, err)
		}
	}
	for agent := range offers {
		if err := t.offer(ctx, agent); err != nil {
			return fmt.Errorf("offer %s: %w", agent, err)
		}
	}
	t.say.step("%s/hello (free), %s/summarize (0.25 USD a run) and %s/wordcount (private, by the second) are published and approved",
		examplesOrg, examplesOrg, examplesOrg)

	run, err := t.smoke(ctx)
	if err != nil {
		return fmt.Errorf("run hello: %w", err)
	}
	t.say.step("hello: %s in run %s\n%s", run.Status, run.ID, indent(run.Output))
	if err := t.buy(ctx); err != nil {
		return fmt.Errorf("buy and run summarize: %w", err)
	}
	t.howToGoOn(run.ID)
	return nil
}

// runView is what the tour reads of a run.
type runView struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Reason string          `json:"reason"`
	Output json.RawMessage `json:"output"`
	Cost   *cost           `json:"cost"`
}

type cost struct {
	Micros   int64  `json:"amount_micros"`
	Currency string `json:"currency"`
}

func (c *cost) String() string {
	if c == nil {
		return "nothing"
	}
	return money.Of(c.Micros, c.Currency).String()
}

// untilUp waits until the API and the worker's dependencies answer.
func (t tour) untilUp(ctx context.Context) error {
	for {
		if err := t.call(ctx, http.MethodGet, "/readyz", nil, nil, nil); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (t tour) register(ctx context.Context, agent string) error {
	text, err := os.ReadFile(filepath.Join("examples/agents", agent, "agent.yaml"))
	if err != nil {
		return err
	}
	manifest, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	body := map[string]any{"manifest": json.RawMessage(manifest), "image": t.images[agent]}
	err = t.call(ctx, http.MethodPost, "/v1/agents", nil, body, nil)
	var problem *problemError
	if errors.As(err, &problem) && problem.Status == http.StatusConflict {
		// The example was changed without a new version: in development, the
		// program is the truth. A publisher would raise the version.
		return fmt.Errorf("%w\n  the image or the manifest changed under the same version: raise `version` in examples/agents/%s/agent.yaml, or `make clean`", err, agent)
	}
	return err
}

// smoke is POST /schedule-job, then waiting for the run.
func (t tour) smoke(ctx context.Context) (runView, error) {
	var scheduled struct {
		RunID string `json:"run_id"`
	}
	if err := t.call(ctx, http.MethodPost, "/schedule-job", nil, map[string]string{"prompt": "hello world"}, &scheduled); err != nil {
		return runView{}, err
	}
	for {
		var run runView
		if err := t.call(ctx, http.MethodGet, "/v1/runs/"+scheduled.RunID, nil, nil, &run); err != nil {
			return run, err
		}
		switch run.Status {
		case "queued", "starting", "running":
		case "succeeded":
			return run, nil
		default:
			return run, fmt.Errorf("the run ended as %s: %s", run.Status, run.Reason)
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (t tour) summarize(ctx context.Context) (runView, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return runView{}, err
	}
	var run runView
	body := map[string]any{"input": map[string]any{"text": string(text), "sentences": 3}}
	err = t.call(ctx, http.MethodPost, "/v1/agents/"+examplesOrg+"/summarize/runs", map[string]string{"Prefer": "wait=60"}, body, &run)
	if err == nil && run.Status != "succeeded" {
		err = fmt.Errorf("the run ended as %s: %s", run.Status, run.Reason)
	}
	return run, err
}

// problemError is an answer of the API that is no success.
type problemError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p *problemError) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

func (t tour) call(ctx context.Context, method, path string, header map[string]string, body, into any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	url := fmt.Sprintf("http://localhost:%d%s", t.options.apiPort, path)
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/v1/") {
		request.Header.Set("Authorization", "Bearer "+t.key)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		problem := &problemError{Status: response.StatusCode}
		_ = json.NewDecoder(response.Body).Decode(problem)
		return problem
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func indent(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "           ", "  ") != nil {
		return string(text)
	}
	return "           " + b.String()
}

func (t tour) howToGoOn(run string) {
	fmt.Printf(`
It works. What you can do now, in another shell:

  source %[1]s/env
  curl -sS -X POST localhost:%[2]d/schedule-job -H 'Content-Type: application/json' -d '{"prompt":"hello world"}'
  curl -sS -H "Authorization: Bearer $AGENTMARKET_API_KEY" $AGENTMARKET_URL/v1/runs/%[3]s
  curl -sS -H "Authorization: Bearer $AGENTMARKET_API_KEY" $AGENTMARKET_URL/v1/runs/%[3]s/output
  kubectl -n agentmarket-runs get jobs,pods
  kubectl -n agentmarket-runs logs -f -l agentmarket.dev/run-id=%[3]s

  cancel a run by a signal, as the temporal CLI does (take the id of a run that is running):
  curl -sS -X POST localhost:%[6]d/api/v1/namespaces/%[5]s/workflows/RUN_ID/signal/cancel \
       -H 'Content-Type: application/json' -d '{"input":[{"reason":"by hand"}]}'

  REST API        http://localhost:%[2]d/docs
  Temporal Web UI http://localhost:%[4]d/namespaces/%[5]s/workflows
  logs            %[1]s/platform.log

Ctrl-C stops everything; the state stays in %[1]s.
`, t.options.dir, t.options.apiPort, run, t.options.uiPort, temporalNamespace, t.options.temporalHTTPPort)
}
