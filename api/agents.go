package api

import (
	"time"

	"agentmarket/agentruntime"
	"agentmarket/product"
)

// agentBody is an agent as the API shows it. Lists leave out what is about the
// caller's organization, and the listing.
type agentBody struct {
	ID           string            `json:"id" example:"agt_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Publisher    string            `json:"publisher" example:"acme"`
	Name         string            `json:"name" example:"greeter"`
	Summary      string            `json:"summary" doc:"Of the newest version."`
	Latest       string            `json:"latest" doc:"The number of the newest version; empty: a preview, there is none yet." example:"1.2.0"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at" doc:"When the newest version was published."`
	Listing      *listingBody      `json:"listing,omitempty" doc:"How it is offered. Not in lists."`
	Price        *priceBody        `json:"price,omitempty" doc:"In effect. Absent: it is free. Not in lists."`
	Announced    []priceBody       `json:"announced_prices,omitempty" doc:"Not in effect yet, the next one first. Not in lists."`
	Version      string            `json:"version,omitempty" doc:"What your organization would run now. Not in lists."`
	Permissions  *permissionsBody  `json:"permissions,omitempty" doc:"What that version asks for. Not in lists."`
	Entitlement  *entitlementBody  `json:"entitlement,omitempty" doc:"What your organization may do. Not in lists."`
	Installation *installationBody `json:"installation,omitempty" doc:"How your organization uses it. Not in lists."`
	Update       *updateBody       `json:"update,omitempty" doc:"A newer version that your organization does not run yet. Not in lists."`
	URLs         agentURLs         `json:"urls"`
}

type entitlementBody struct {
	Allowed   bool       `json:"allowed" doc:"Whether your organization may start runs now."`
	Code      string     `json:"code,omitempty" doc:"Why not."`
	Detail    string     `json:"detail,omitempty" doc:"The same for people."`
	Next      string     `json:"next,omitempty" doc:"Where the missing right can be had."`
	Source    string     `json:"source,omitempty" doc:"Where the right comes from, one that is over included. Absent: there is none." example:"ownership"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

type agentURLs struct {
	Self     string `json:"self"`
	Versions string `json:"versions"`
	Channels string `json:"channels"`
	Reviews  string `json:"reviews"`
	Estimate string `json:"estimate" doc:"POST here to learn what a run would cost."`
	Runs     string `json:"runs" doc:"POST here to start a run."`
	Web      string `json:"web,omitempty"`
}

func agentPath(publisher, name string) string { return "/v1/agents/" + publisher + "/" + name }

func (a *app) agentBody(agent product.Agent) agentBody {
	self := agentPath(agent.Publisher, agent.Name)
	body := agentBody{
		ID: string(agent.ID), Publisher: agent.Publisher, Name: agent.Name, Summary: agent.Summary,
		Latest: agent.Latest, CreatedAt: agent.CreatedAt.UTC(), UpdatedAt: agent.UpdatedAt.UTC(),
		URLs: agentURLs{
			Self: self, Versions: self + "/versions", Channels: self + "/channels", Reviews: self + "/reviews",
			Estimate: self + "/estimate", Runs: self + "/runs",
		},
	}
	if a.WebURL != "" {
		body.URLs.Web = a.WebURL + "/agents/" + agent.FullName()
	}
	return body
}

// versionBody is a version of an agent. Lists leave manifest, permissions and
// changelog out.
type versionBody struct {
	ID          string                 `json:"id"`
	Agent       string                 `json:"agent" example:"acme/greeter"`
	Version     string                 `json:"version" example:"1.2.0"`
	Summary     string                 `json:"summary"`
	Image       string                 `json:"image" doc:"Pinned by digest."`
	Manifest    *agentruntime.Manifest `json:"manifest,omitempty" doc:"With the defaults filled in. Not in lists."`
	Permissions *permissionsBody       `json:"permissions,omitempty" doc:"What it asks of its buyer. Not in lists."`
	Changelog   string                 `json:"changelog,omitempty" doc:"What is new in it. Not in lists."`
	CreatedAt   time.Time              `json:"created_at"`
	URLs        versionURLs            `json:"urls"`
}

type versionURLs struct {
	Self    string `json:"self"`
	Changes string `json:"changes" doc:"What it asks for beyond what your organization has agreed to."`
}

type selfURL struct {
	Self string `json:"self"`
}

func versionBodyOf(agent product.Agent, v product.Version) versionBody {
	self := agentPath(agent.Publisher, agent.Name) + "/versions/" + v.Number
	return versionBody{
		ID: string(v.ID), Agent: agent.FullName(), Version: v.Number, Summary: v.Manifest.Summary,
		Image: v.Image, CreatedAt: v.CreatedAt.UTC(),
		URLs: versionURLs{Self: self, Changes: self + "/changes"},
	}
}

func wholeVersionBodyOf(agent product.Agent, v product.Version) versionBody {
	body := versionBodyOf(agent, v)
	body.Manifest, body.Changelog = &v.Manifest, v.Changelog
	body.Permissions = permissionsBodyOf(product.PermissionsOf(v.Manifest))
	return body
}
