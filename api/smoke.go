package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"agentmarket/fault"
	"agentmarket/launch"
	"agentmarket/product"
)

const (
	smokeTestPath = "/schedule-job"
	maxPrompt     = 10 << 10
)

type smokeTestRequest struct {
	Prompt string `json:"prompt" minLength:"1" maxLength:"10240" doc:"1 byte to 10 KiB of text." example:"hello world"`
}

type smokeTestInput struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"As for start-run."`
	Body           smokeTestRequest
}

type smokeTestBody struct {
	RunID     string `json:"run_id" example:"run_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	JobName   string `json:"job_name" doc:"The Kubernetes Job of the first attempt." example:"run-01jd3m0f9zq4x8v5c7n2b6k1ta-a1"`
	Namespace string `json:"namespace" example:"agentmarket-runs"`
	Status    string `json:"status" example:"queued"`
}

type smokeTestAnswer struct {
	Location string `header:"Location" doc:"The run."`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the run was there before."`
	Body     smokeTestBody
}

func (a *app) routeSmokeTest() {
	handle(a, route{
		id: "schedule-job", method: http.MethodPost, path: smokeTestPath, tag: tagRuns, access: smokeTest,
		status: http.StatusAccepted, summary: "Start the example agent",
		description: "The shortest way from a prompt to a Kubernetes Job. On the computer that serves it may work without an API key; " +
			"with a key the run belongs to the key's organization.",
		problems: append(denials(), "smoke_test_disabled", "agent_not_found", "version_not_found",
			string(product.ReasonPlanInvalid), "input_invalid", "idempotency_key_invalid", "idempotency_key_reused"),
	}, a.scheduleJob)
}

func (a *app) scheduleJob(ctx context.Context, in *smokeTestInput) (*smokeTestAnswer, error) {
	if a.SmokeTest == nil {
		return nil, fault.New(fault.NotFound, "smoke_test_disabled", "no example agent is configured")
	}
	if len(in.Body.Prompt) > maxPrompt {
		return nil, requestInvalid(fault.Field{Pointer: "/prompt", Message: fmt.Sprintf("must have at most %d bytes", maxPrompt)})
	}
	key, err := idempotencyKey(requestOf(ctx))
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(map[string]string{"prompt": in.Body.Prompt})
	if err != nil {
		return nil, fmt.Errorf("encode prompt: %w", err)
	}
	publisher, name, _ := strings.Cut(a.SmokeTest.Agent, "/")
	run, created, err := a.start(ctx, launch.Start{
		Caller: caller(ctx), Publisher: publisher, Name: name, Version: product.Latest, Input: input, Key: key,
	})
	if err != nil {
		return nil, err
	}
	answer := &smokeTestAnswer{Location: runPath(run), Body: smokeTestBody{
		RunID: string(run.ID), JobName: run.Ref(1).Name(),
		Namespace: a.NamespaceOf(run.Ref(1)), Status: string(run.Status),
	}}
	if !created {
		answer.Replayed = "true"
	}
	return answer, nil
}
