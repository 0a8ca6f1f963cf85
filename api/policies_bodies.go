package api

import (
	"time"

	"agentmarket/product"
)

// PolicyRules is what a policy says. A list that is absent or null allows
// everything, an empty one nothing.
type PolicyRules struct {
	Agents              []string       `json:"agents,omitzero" maxItems:"200" doc:"Agents that may run: publisher/name, or publisher/* for all of a publisher. Absent or null: all; []: none." example:"[\"acme/*\"]"`
	MaxResources        *resourcesRule `json:"max_resources,omitempty" doc:"A version that asks for more is refused."`
	DefaultResources    *resourcesRule `json:"default_resources,omitempty" doc:"What a run gets that names none itself, where its version asks for more."`
	MaxRunSeconds       int64          `json:"max_run_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"Shortens the time of a process."`
	MaxQueueSeconds     int64          `json:"max_queue_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"Shortens the time in the queue."`
	DefaultRunSeconds   int64          `json:"default_run_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"For callers who name none."`
	DefaultQueueSeconds int64          `json:"default_queue_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"For callers who name none."`
	Tier                string         `json:"tier,omitempty" enum:"standard,sandboxed" doc:"The least isolation."`
	Tools               []string       `json:"tools,omitzero" maxItems:"200" doc:"Tools that versions may ask for; search/* is all that begin with search/. Absent or null: all; []: none." example:"[\"search/*\"]"`
	Models              []string       `json:"models,omitzero" maxItems:"200" doc:"Models that versions may ask for; small-* is all that begin with small-. Absent or null: all; []: none." example:"[\"small-*\"]"`
	Secrets             []string       `json:"secrets,omitzero" maxItems:"200" doc:"Secrets that versions may ask for. Absent or null: all; []: none." example:"[\"GITHUB_TOKEN\"]"`
	SecretFiles         []string       `json:"secret_files,omitzero" maxItems:"200" doc:"Secrets that versions may ask to read themselves. Absent or null: all; []: none." example:"[]"`
	Egress              []string       `json:"egress,omitzero" maxItems:"200" doc:"Hosts that versions may ask for, as in manifests. Absent or null: all; []: none." example:"[\"*.example.com:443\"]"`
	Modes               []string       `json:"modes,omitzero" maxItems:"2" enum:"async,sync" doc:"How runs may be started. sync: the caller keeps the connection open. Absent or null: both."`
	ApprovalAbove       *amountBody    `json:"approval_above,omitempty" doc:"A person approves each run that may cost more."`
	ApprovalAgents      []string       `json:"approval_agents,omitzero" maxItems:"200" doc:"A person approves each run of these agents, named as in agents."`
	KeepInputSeconds    int64          `json:"keep_input_seconds,omitempty" minimum:"1" maximum:"315360000" doc:"How long the input is kept after the end of a run. Absent: for good."`
	KeepOutputSeconds   int64          `json:"keep_output_seconds,omitempty" minimum:"1" maximum:"315360000" doc:"How long the output is kept."`
	KeepLogSeconds      int64          `json:"keep_log_seconds,omitempty" minimum:"1" maximum:"315360000" doc:"How long the log is kept."`
	Warm                int            `json:"warm,omitempty" minimum:"1" maximum:"20" doc:"Keeps pods ready for the next runs of a version that runs, as far as the platform allows. Each serves one run."`
}

type resourcesRule struct {
	CPUMillis int64 `json:"cpu_millis,omitempty" minimum:"10" maximum:"1000000"`
	MemoryMiB int64 `json:"memory_mib,omitempty" minimum:"16" maximum:"16777216"`
	DiskMiB   int64 `json:"disk_mib,omitempty" minimum:"1" maximum:"16777216"`
}

// policyBody is a policy as the API shows it.
type policyBody struct {
	Scope     string    `json:"scope" doc:"platform, organization, team or agent." example:"team"`
	TeamID    string    `json:"team_id,omitempty"`
	Agent     string    `json:"agent,omitempty" doc:"Of the scope agent: publisher/name." example:"acme/greeter"`
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
	PolicyRules
}

// policy reads what a policy says. What the entries of its lists must look like, its
// Check knows.
func (a *app) policy(scope product.PolicyScope, r PolicyRules) (product.Policy, error) {
	p := product.Policy{
		Scope:        scope,
		Agents:       r.Agents,
		MaxResources: r.MaxResources.resources(), DefaultResources: r.DefaultResources.resources(),
		MaxRun: seconds(r.MaxRunSeconds), MaxQueue: seconds(r.MaxQueueSeconds),
		DefaultRun: seconds(r.DefaultRunSeconds), DefaultQueue: seconds(r.DefaultQueueSeconds),
		Tier: product.Tier(r.Tier), Tools: r.Tools, Models: r.Models, Secrets: r.Secrets, SecretFiles: r.SecretFiles, Egress: r.Egress,
		Modes: modesOf[product.Mode](r.Modes), ApprovalAgents: r.ApprovalAgents,
		KeepInput: seconds(r.KeepInputSeconds), KeepOutput: seconds(r.KeepOutputSeconds), KeepLog: seconds(r.KeepLogSeconds), Warm: r.Warm,
	}
	if r.ApprovalAbove != nil {
		var err error
		if p.ApprovalAbove, err = a.amount(*r.ApprovalAbove, "/approval_above"); err != nil {
			return product.Policy{}, err
		}
	}
	return p, nil
}

func policyBodyOf(p product.Policy, agent string) policyBody {
	body := policyBody{
		Scope: string(p.Scope.Kind), Agent: agent, UpdatedBy: p.UpdatedBy, UpdatedAt: p.UpdatedAt.UTC(),
		PolicyRules: PolicyRules{
			Agents:       p.Agents,
			MaxResources: resourcesRuleOf(p.MaxResources), DefaultResources: resourcesRuleOf(p.DefaultResources),
			MaxRunSeconds: inSeconds(p.MaxRun), MaxQueueSeconds: inSeconds(p.MaxQueue),
			DefaultRunSeconds: inSeconds(p.DefaultRun), DefaultQueueSeconds: inSeconds(p.DefaultQueue),
			Tier: string(p.Tier), Tools: p.Tools, Models: p.Models, Secrets: p.Secrets, SecretFiles: p.SecretFiles, Egress: p.Egress,
			Modes: modesOf[string](p.Modes), ApprovalAbove: amountBodyOrNil(p.ApprovalAbove), ApprovalAgents: p.ApprovalAgents,
			KeepInputSeconds: inSeconds(p.KeepInput), KeepOutputSeconds: inSeconds(p.KeepOutput), KeepLogSeconds: inSeconds(p.KeepLog), Warm: p.Warm,
		},
	}
	if p.Scope.Kind == product.ScopeTeam {
		body.TeamID = p.Scope.ID
	}
	return body
}

func (r *resourcesRule) resources() product.Resources {
	if r == nil {
		return product.Resources{}
	}
	return product.Resources(*r)
}

func resourcesRuleOf(r product.Resources) *resourcesRule {
	if r == (product.Resources{}) {
		return nil
	}
	return new(resourcesRule(r))
}

// modesOf converts modes, and keeps the difference between none and no list.
func modesOf[T, S ~string](modes []S) []T {
	if modes == nil {
		return nil
	}
	list := make([]T, len(modes))
	for i, m := range modes {
		list[i] = T(m)
	}
	return list
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func inSeconds(d time.Duration) int64 { return int64(d / time.Second) }
