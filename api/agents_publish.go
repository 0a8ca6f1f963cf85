package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

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
	// No word of what follows is part of what the version runs.
	Changelog string   `json:"changelog,omitempty" maxLength:"16384" doc:"What is new, for people, at most 16384 bytes. Kept with the first publication of the version." example:"Reads scanned pages, too."`
	Channels  []string `json:"channels,omitempty" maxItems:"5" uniqueItems:"true" pattern:"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"Pointed at the version once it is stored." example:"[\"beta\"]"`
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
	org, err := a.Marketplace.Organization(ctx, requestOf(ctx).caller.OrgID)
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
	if err == nil {
		version, err = version.WithChangelog(in.Body.Changelog)
	}
	if err == nil {
		err = checkChannels(in.Body.Channels)
	}
	if err != nil {
		return nil, err
	}
	agent, version, added, err := a.Agents.AddVersion(ctx, actor(ctx), agent, version)
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", org.Name, manifest.Name, err)
	}
	own := marketplace.NewEntitlement(org.ID, agent.ID, marketplace.SourceOwnership, now)
	if err := a.Marketplace.Entitle(ctx, actor(ctx), own); err != nil {
		return nil, fmt.Errorf("entitle publisher of %s: %w", agent.FullName(), err)
	}
	for _, channel := range in.Body.Channels {
		if _, err := a.Channels.SetChannel(ctx, actor(ctx), agent.ID, channel, version.Number, now); err != nil {
			return nil, fmt.Errorf("point channel %s of %s at %s: %w", channel, agent.FullName(), version.Number, err)
		}
	}
	answer := &versionAnswer{Status: http.StatusOK, Body: wholeVersionBodyOf(agent, version)}
	answer.Location = answer.Body.URLs.Self
	if added {
		answer.Status = http.StatusCreated
	}
	return answer, nil
}

func checkChannels(names []string) error {
	var fields []fault.Field
	for i, name := range names {
		if !product.ValidChannel(name) {
			fields = append(fields, fault.Field{Pointer: pointer("channels", strconv.Itoa(i)), Message: channelRule})
		}
	}
	if len(fields) > 0 {
		return requestInvalid(fields...)
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
