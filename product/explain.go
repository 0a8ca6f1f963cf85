package product

import "fmt"

// The rules that set a field of a plan, as in [Source].
const (
	RuleManifest    = "manifest"
	RuleRequest     = "request"
	RulePrice       = "price"
	RuleEntitlement = "entitlement"
	RuleDefault     = "default"
	RulePlatform    = "platform" // its own bounds: Limits

	RulePlatformPolicy     = "platform_policy"
	RuleOrganizationPolicy = "organization_policy"
	RuleTeamPolicy         = "team_policy"
	RuleAgentPolicy        = "agent_policy"
)

// The rules that choose the version of a run, besides the request that names it.
const (
	RulePin          = "pin"
	RuleChannel      = "channel"
	RuleRollout      = "rollout"
	RuleLatest       = "latest"
	RuleInstallation = "installation" // it waits for a consent to a newer one
)

// Rule names the policy in the sources of a plan.
func (p Policy) Rule() string { return string(p.Scope.Kind) + "_policy" }

// String names the policy for people.
func (p Policy) String() string {
	switch p.Scope.Kind {
	case ScopeAgent:
		return "the organization's policy for this agent"
	default:
		return fmt.Sprintf("the policy of the %s", p.Scope.Kind)
	}
}

// SourceOf returns what set a field of the plan; the zero Source where nothing is
// said about it.
func (p Plan) SourceOf(field string) Source {
	for _, s := range p.Sources {
		if s.Field == field {
			return s
		}
	}
	return Source{}
}

// explain says which rule set a field.
func (r *resolution) explain(field, rule, detail string) {
	r.plan.Sources = append(r.plan.Sources, Source{Field: field, Rule: rule, Detail: detail})
}
