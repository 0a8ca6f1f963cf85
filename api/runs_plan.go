package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// planBody is the resolved intent of a run.
type planBody struct {
	Version        string            `json:"version"`
	Image          string            `json:"image"`
	Command        []string          `json:"command"`
	Env            map[string]string `json:"env,omitempty"`
	Resources      planResources     `json:"resources"`
	Deadlines      planDeadlines     `json:"deadlines"`
	MaxAttempts    int               `json:"max_attempts" doc:"Of the run, whatever made them fail."`
	AgentAttempts  int               `json:"agent_attempts" doc:"That may end with a failure of the agent."`
	MaxOutputBytes int64             `json:"max_output_bytes"`
	MaxLogBytes    int64             `json:"max_log_bytes"`
	EntitlementID  string            `json:"entitlement_id,omitempty" doc:"The right that the run starts under. Absent in a dry run where the first start makes it."`
	PriceID        string            `json:"price_id,omitempty" doc:"The price that the run keeps. Absent: it is free."`
	Budget         *amountBody       `json:"budget,omitempty" doc:"What the run may cost at most."`
	BudgetBound    bool              `json:"budget_bound,omitempty" doc:"The run deadline is what the budget pays for: reaching it ends the run as budget_exhausted."`
	Tools          []string          `json:"tools" doc:"What the agent may call."`
	Models         []string          `json:"models" doc:"What it may ask through the gateway."`
	Secrets        []string          `json:"secrets" doc:"The names of those that are used for the agent."`
	SecretFiles    []string          `json:"secret_files" doc:"Those of them that it reads itself."`
	Egress         []string          `json:"egress" doc:"Hosts that it may connect to."`
	Tier           string            `json:"tier" doc:"standard or sandboxed: how well it is kept apart."`
	Warm           int               `json:"warm,omitempty" doc:"How many pods are kept ready for such runs. Absent: none."`
	Mode           string            `json:"mode" doc:"async, or sync: the caller waits."`
	Approval       string            `json:"approval,omitempty" doc:"Why a person has to approve the run. Absent: nobody has to."`
	Retention      planRetention     `json:"retention"`
	Sources        []planSource      `json:"sources" doc:"Which rule has set each field."`
	ResolvedAt     time.Time         `json:"resolved_at"`
}

type planResources struct {
	CPUMillis int64 `json:"cpu_millis"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskMiB   int64 `json:"disk_mib"`
}

type planDeadlines struct {
	QueueSeconds int64 `json:"queue_seconds"`
	StartSeconds int64 `json:"start_seconds"`
	RunSeconds   int64 `json:"run_seconds"`
	GraceSeconds int64 `json:"grace_seconds"`
}

// planRetention is how long bodies are kept after the end of the run.
type planRetention struct {
	InputSeconds  int64 `json:"input_seconds" doc:"0: for good."`
	OutputSeconds int64 `json:"output_seconds" doc:"0: for good."`
	LogSeconds    int64 `json:"log_seconds" doc:"0: for good."`
}

type planSource struct {
	Field  string `json:"field" example:"deadlines.run_seconds"`
	Rule   string `json:"rule" doc:"manifest, request, price, installation, channel, rollout, pin, latest, default, platform, platform_policy, organization_policy, team_policy or agent_policy. The set may grow." example:"manifest"`
	Detail string `json:"detail,omitempty" doc:"For people."`
}

func planBodyOf(p product.Plan) planBody {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	body := planBody{
		Version: p.Version, Image: p.Image, Command: p.Command, Env: p.Env,
		Resources: planResources(p.Resources),
		Deadlines: planDeadlines{
			QueueSeconds: seconds(p.Deadlines.Queue), StartSeconds: seconds(p.Deadlines.Start),
			RunSeconds: seconds(p.Deadlines.Run), GraceSeconds: seconds(p.Deadlines.Grace),
		},
		MaxAttempts: p.MaxAttempts, AgentAttempts: p.AgentAttempts, MaxOutputBytes: p.MaxOutputBytes, MaxLogBytes: p.MaxLogBytes,
		EntitlementID: string(p.EntitlementID), PriceID: string(p.PriceID), Budget: amountBodyOrNil(p.Budget), BudgetBound: p.BudgetBound,
		Tools: append([]string{}, p.Tools...), Models: append([]string{}, p.Models...), Secrets: append([]string{}, p.Secrets...),
		SecretFiles: append([]string{}, p.SecretFiles...), Egress: append([]string{}, p.Egress...),
		Tier: string(p.Tier), Warm: p.Warm, Mode: string(p.Mode), Approval: p.Approval,
		Retention: planRetention{seconds(p.Retention.Input), seconds(p.Retention.Output), seconds(p.Retention.Log)},
		Sources:   make([]planSource, len(p.Sources)), ResolvedAt: p.ResolvedAt.UTC(),
	}
	for i, s := range p.Sources {
		body.Sources[i] = planSource(s)
	}
	return body
}

// dryRunBody is what a start would do now.
type dryRunBody struct {
	WouldRun bool         `json:"would_run" doc:"Whether the run would be taken; it may have to wait."`
	Version  string       `json:"version,omitempty" doc:"What would run. Absent: there is nothing to run." example:"1.2.0"`
	Plan     *planBody    `json:"plan,omitempty" doc:"Absent where the right to run it is missing, or where it cannot be made."`
	Estimate estimateBody `json:"estimate"`
	Denial   *refusalBody `json:"denial,omitempty"`
	Waits    []queuedBody `json:"waits" doc:"The limits that are reached now: the run would wait for them."`
}

// refusalBody is why a run would not start.
type refusalBody struct {
	DenialBody
	Errors []fieldProblem `json:"errors,omitempty" doc:"Every wrong place."`
}

type (
	planAnswer   struct{ Body planBody }
	dryRunAnswer struct{ Body dryRunBody }
	dryRunInput  struct {
		Publisher string `path:"publisher" doc:"The organization that publishes the agent." example:"acme"`
		Name      string `path:"name" example:"greeter"`
		Prefer    string `header:"Prefer" doc:"As for a start: waiting for the end of a run may be against a policy."`
		Body      startRunRequest
	}
)

func (a *app) routePlans() {
	handle(a, route{
		id: "get-plan", method: http.MethodGet, path: "/v1/runs/{id}/plan", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:     "Get the plan of a run: what was resolved to run, with which limits",
		description: "Made once and kept. The sources say which rule has set each field. Of secrets it has the names only.",
		problems:    []string{"run_not_found", "plan_not_ready"},
	}, a.getPlan)
	handle(a, route{
		id: "plan-run", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/plan", tag: tagRuns,
		action: marketplace.ActRunsStart, summary: "Learn what the start of a run would do, without starting it",
		description: "Takes what a start takes, writes nothing, and answers 200 for a run that would be denied, too: with the reason. " +
			"A request that is wrong is answered as by the start.",
		problems: []string{"agent_not_found", "version_not_found", "input_invalid", "input_too_large", "team_unknown", "team_required", "parent_not_found"},
	}, a.planRun)
}

func (a *app) getPlan(ctx context.Context, in *runInput) (*planAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if run.Plan == nil {
		return nil, fault.New(fault.NotFound, "plan_not_ready", "the run has no plan")
	}
	return &planAnswer{planBodyOf(*run.Plan)}, nil
}

func (a *app) planRun(ctx context.Context, in *dryRunInput) (*dryRunAnswer, error) {
	s, err := a.startOf(ctx, in.Publisher, in.Name, in.Body)
	if err != nil {
		return nil, err
	}
	preview, err := a.launcher.Preview(ctx, s)
	if err != nil {
		return nil, err
	}
	return &dryRunAnswer{a.dryRunBody(ctx, preview)}, nil
}

func (a *app) dryRunBody(ctx context.Context, p launch.Preview) dryRunBody {
	body := dryRunBody{
		WouldRun: p.Denial == nil, Version: p.Version.Number, Waits: make([]queuedBody, len(p.Waits)),
		Estimate: a.estimateBody(ctx, p.Agent, p.Version, p.Estimate),
	}
	if p.Plan != nil {
		body.Plan = new(planBodyOf(*p.Plan))
	}
	for i, wait := range p.Waits {
		body.Waits[i] = queuedBodyOf(wait)
	}
	if p.Denial != nil {
		problem := problemFrom(a.denied(ctx, p.Agent, p.Denial))
		body.Denial = &refusalBody{DenialBody{Code: problem.Code, Detail: problem.Detail, Next: problem.Next}, problem.Errors}
	}
	return body
}
