package api

import (
	"context"
	"net/http"

	"agentmarket/marketplace"
	"agentmarket/product"
)

// changeBody is what a version asks for beyond what was asked for before, and
// what it does not need any more.
type changeBody struct {
	Widens             bool             `json:"widens" doc:"It asks for more: a consent is needed."`
	ToolsAdded         []string         `json:"tools_added,omitempty"`
	ToolsRemoved       []string         `json:"tools_removed,omitempty"`
	ModelsAdded        []string         `json:"models_added,omitempty"`
	ModelsRemoved      []string         `json:"models_removed,omitempty"`
	SecretsAdded       []string         `json:"secrets_added,omitempty"`
	SecretsRemoved     []string         `json:"secrets_removed,omitempty"`
	SecretFilesAdded   []string         `json:"secret_files_added,omitempty" doc:"Secrets that the agent reads itself."`
	SecretFilesRemoved []string         `json:"secret_files_removed,omitempty"`
	EgressAdded        []string         `json:"egress_added,omitempty"`
	EgressRemoved      []string         `json:"egress_removed,omitempty"`
	Envelope           []envelopeChange `json:"envelope,omitempty" doc:"What one run may take, where it differs."`
}

type envelopeChange struct {
	Name string `json:"name" doc:"cpu_millis, memory_mib, disk_mib or run_seconds."`
	From int64  `json:"from"`
	To   int64  `json:"to"`
}

func changeBodyOf(c product.PermissionChange) changeBody {
	body := changeBody{
		Widens: c.Widens(), ToolsAdded: c.ToolsAdded, ToolsRemoved: c.ToolsRemoved,
		ModelsAdded: c.ModelsAdded, ModelsRemoved: c.ModelsRemoved,
		SecretsAdded: c.SecretsAdded, SecretsRemoved: c.SecretsRemoved,
		SecretFilesAdded: c.SecretFilesAdded, SecretFilesRemoved: c.SecretFilesRemoved, EgressAdded: c.EgressAdded, EgressRemoved: c.EgressRemoved,
	}
	for _, e := range c.Envelope {
		body.Envelope = append(body.Envelope, envelopeChange(e))
	}
	return body
}

type (
	changesInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Version   string `path:"version" maxLength:"64" doc:"A number, a channel, or latest." example:"2.0.0"`
		From      string `query:"from" maxLength:"64" doc:"A number, a channel, or latest. Default: what your organization has agreed to, or else what it runs now." example:"1.0.0"`
	}
	changesBody struct {
		Agent       string           `json:"agent" example:"acme/greeter"`
		Basis       string           `json:"basis" doc:"What it is compared with: consent, version, or nothing, where your organization has neither agreed to the agent nor run it."`
		From        string           `json:"from,omitempty" doc:"The version that it is compared with." example:"1.0.0"`
		To          string           `json:"to" example:"2.0.0"`
		Change      changeBody       `json:"change"`
		Permissions *permissionsBody `json:"permissions" doc:"All that the version asks for."`
		Changelog   string           `json:"changelog,omitempty" doc:"What is new in the version."`
	}
	changesAnswer struct{ Body changesBody }
)

func (a *app) routeChanges() {
	handle(a, route{
		id: "get-changes", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/versions/{version}/changes", tag: tagAgents,
		action: marketplace.ActAgentsRead, summary: "Compare what two versions of an agent ask for",
		description: "Tells an admin what a consent would add, before it is given.",
		problems:    []string{"agent_not_found", "version_not_found"},
	}, a.getChanges)
}

func (a *app) getChanges(ctx context.Context, in *changesInput) (*changesAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	to, err := a.namedVersion(ctx, agent, in.Version)
	if err != nil {
		return nil, err
	}
	body := changesBody{Agent: agent.FullName(), To: to.Number, Changelog: to.Changelog}
	var before product.Permissions
	body.Basis, body.From, before, err = a.agreedBefore(ctx, agent, claim, in.From)
	if err != nil {
		return nil, err
	}
	asked := product.PermissionsOf(to.Manifest)
	body.Change, body.Permissions = changeBodyOf(before.ChangeTo(asked)), permissionsBodyOf(asked)
	return &changesAnswer{body}, nil
}

// agreedBefore is what a version is compared with: a named version, what the
// caller's organization has consented to, or else what it runs.
func (a *app) agreedBefore(ctx context.Context, agent product.Agent, claim marketplace.Claim, from string) (
	basis, number string, before product.Permissions, err error,
) {
	var version product.Version
	i := claim.Installation
	switch {
	case from == "" && i != nil && !i.ConsentedAt.IsZero():
		return "consent", i.Version, i.Consented, nil
	case from == "" && claim.OrgID == claim.Publisher:
		version, err = a.namedVersion(ctx, agent, product.Latest)
	case from == "" && (i == nil || i.VersionID == ""):
		return "nothing", "", before, nil
	case from == "":
		version, err = a.Agents.Version(ctx, i.VersionID)
	default:
		version, err = a.namedVersion(ctx, agent, from)
	}
	return "version", version.Number, product.PermissionsOf(version.Manifest), err
}
