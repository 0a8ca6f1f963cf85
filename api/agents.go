package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// agentBody is an agent as the API shows it.
type agentBody struct {
	ID          string           `json:"id" example:"agt_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Publisher   string           `json:"publisher" example:"acme"`
	Name        string           `json:"name" example:"greeter"`
	Summary     string           `json:"summary" doc:"Of the newest version."`
	Latest      string           `json:"latest" doc:"The number of the newest version." example:"1.2.0"`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at" doc:"When the newest version was published."`
	Entitlement *entitlementBody `json:"entitlement,omitempty" doc:"What your organization may do. Not in lists."`
	URLs        agentURLs        `json:"urls"`
}

type entitlementBody struct {
	Allowed   bool       `json:"allowed" doc:"Whether your organization may start runs now."`
	Code      string     `json:"code,omitempty" doc:"Why not."`
	Source    string     `json:"source" example:"ownership"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

type agentURLs struct {
	Self     string `json:"self"`
	Versions string `json:"versions"`
	Runs     string `json:"runs" doc:"POST here to start a run."`
	Web      string `json:"web,omitempty"`
}

func agentPath(publisher, name string) string { return "/v1/agents/" + publisher + "/" + name }

func (a *app) agentBody(agent product.Agent) agentBody {
	self := agentPath(agent.Publisher, agent.Name)
	body := agentBody{
		ID: string(agent.ID), Publisher: agent.Publisher, Name: agent.Name, Summary: agent.Summary,
		Latest: agent.Latest, CreatedAt: agent.CreatedAt.UTC(), UpdatedAt: agent.UpdatedAt.UTC(),
		URLs: agentURLs{Self: self, Versions: self + "/versions", Runs: self + "/runs"},
	}
	if a.WebURL != "" {
		body.URLs.Web = a.WebURL + "/agents/" + agent.FullName()
	}
	return body
}

// versionBody is a version of an agent. Lists leave the manifest out.
type versionBody struct {
	ID        string                 `json:"id"`
	Agent     string                 `json:"agent" example:"acme/greeter"`
	Version   string                 `json:"version" example:"1.2.0"`
	Summary   string                 `json:"summary"`
	Image     string                 `json:"image" doc:"Pinned by digest."`
	Manifest  *agentruntime.Manifest `json:"manifest,omitempty" doc:"With the defaults filled in. Not in lists."`
	CreatedAt time.Time              `json:"created_at"`
	URLs      selfURL                `json:"urls"`
}

type selfURL struct {
	Self string `json:"self"`
}

func versionBodyOf(agent product.Agent, v product.Version) versionBody {
	return versionBody{
		ID: string(v.ID), Agent: agent.FullName(), Version: v.Number, Summary: v.Manifest.Summary,
		Image: v.Image, CreatedAt: v.CreatedAt.UTC(),
		URLs: selfURL{agentPath(agent.Publisher, agent.Name) + "/versions/" + v.Number},
	}
}

func wholeVersionBodyOf(agent product.Agent, v product.Version) versionBody {
	body := versionBodyOf(agent, v)
	body.Manifest = &v.Manifest
	return body
}

// manifestDocument is a manifest as it comes in: agentruntime reads it, with
// messages of its own.
type manifestDocument json.RawMessage

// UnmarshalJSON keeps the text.
func (m *manifestDocument) UnmarshalJSON(text []byte) error {
	*m = append((*m)[:0], text...)
	return nil
}

// Schema implements huma.SchemaProvider.
func (manifestDocument) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "agent.yaml as JSON: what runs, what it may use, and the JSON Schemas of its input and output.",
		Examples: []any{map[string]any{
			"api_version": agentruntime.APIVersion, "name": "greeter", "version": "1.0.0",
			"summary": "Greets whoever asks.", "command": []string{"/greeter"},
		}},
	}
}

type publishRequest struct {
	Manifest manifestDocument `json:"manifest"`
	Image    string           `json:"image" doc:"The image, pinned by digest: NAME@sha256:…" example:"registry.example.com/acme/greeter@sha256:8f1f0c5a2a0c3c9d4d0fda4b8e0e7b9c6a5d4e3f2b1a0918273645546372819a"`
}

type publishInput struct {
	Body publishRequest
}

type versionAnswer struct {
	Status   int
	Location string `header:"Location" doc:"The version."`
	Body     versionBody
}

// publish registers a version. Everything that is not stored in the one
// transaction of AddVersion is mended by a repeat of the same request.
func (a *app) publish(ctx context.Context, in *publishInput) (*versionAnswer, error) {
	org, err := a.Marketplace.Organization(ctx, requestOf(ctx).caller.org)
	if err != nil {
		return nil, fmt.Errorf("find publisher: %w", err)
	}
	manifest, err := agentruntime.ParseManifest(in.Body.Manifest)
	if err != nil {
		return nil, under("/manifest", err)
	}
	now := a.Now()
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: manifest.Name,
		Summary: manifest.Summary, CreatedAt: now, UpdatedAt: now,
	}
	version, err := product.NewVersion(agent.ID, manifest, in.Body.Image, now)
	if err != nil {
		return nil, err
	}
	agent, version, added, err := a.Agents.AddVersion(ctx, agent, version)
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", org.Name, manifest.Name, err)
	}
	if err := a.own(ctx, org.ID, agent.ID, now); err != nil {
		return nil, err
	}
	answer := &versionAnswer{Status: http.StatusOK, Body: wholeVersionBodyOf(agent, version)}
	answer.Location = answer.Body.URLs.Self
	if added {
		answer.Status = http.StatusCreated
	}
	return answer, nil
}

// own gives a publisher the right to its agent, unless it has one: a grant
// replaces what is there, and what is there may say more.
func (a *app) own(ctx context.Context, org ids.Org, agent ids.Agent, now time.Time) error {
	_, err := a.Marketplace.EntitlementFor(ctx, org, agent)
	if fault.Is(err, fault.NotFound) {
		err = a.Marketplace.Grant(ctx, marketplace.NewEntitlement(org, agent, marketplace.SourceOwnership, now))
	}
	if err != nil {
		return fmt.Errorf("grant agent %s to its publisher: %w", agent, err)
	}
	return nil
}

// under moves the pointers of a fault below a prefix.
func under(prefix string, err error) error {
	f := *fault.From(err)
	fields := f.Fields
	f.Fields = nil
	for _, field := range fields {
		f.Fields = append(f.Fields, fault.Field{Pointer: prefix + field.Pointer, Message: field.Message})
	}
	return &f
}

// visibleAgent finds an agent that the caller's organization has an entitlement
// for, of whatever state. Without one the agent does not exist.
func (a *app) visibleAgent(ctx context.Context, publisher, name string) (product.Agent, marketplace.Entitlement, error) {
	absent := fault.Newf(fault.NotFound, "agent_not_found", "there is no agent %s/%s", publisher, name)
	agent, err := a.Agents.AgentByName(ctx, publisher, name)
	if err == nil {
		var entitlement marketplace.Entitlement
		if entitlement, err = a.Marketplace.EntitlementFor(ctx, requestOf(ctx).caller.org, agent.ID); err == nil {
			return agent, entitlement, nil
		}
	}
	if fault.Is(err, fault.NotFound) {
		err = absent
	}
	return product.Agent{}, marketplace.Entitlement{}, err
}

// version finds a version of an agent by number, or the latest one.
func (a *app) version(ctx context.Context, agent product.Agent, number string) (product.Version, error) {
	version, err := a.Agents.VersionByNumber(ctx, agent.ID, number)
	if fault.Is(err, fault.NotFound) {
		err = fault.Newf(fault.NotFound, "version_not_found", "%s has no version %s", agent.FullName(), number)
	}
	return version, err
}
