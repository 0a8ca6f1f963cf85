package api

import (
	"time"

	"agentmarket/marketplace"
)

// installationBody is how an organization uses an agent.
type installationBody struct {
	Agent       string           `json:"agent" example:"acme/greeter"`
	Channel     string           `json:"channel,omitempty" doc:"Followed: updates come with it. Absent: the version is pinned." example:"stable"`
	Pinned      bool             `json:"pinned"`
	Version     string           `json:"version,omitempty" doc:"What runs now. Absent: nothing has run yet." example:"1.2.0"`
	Consented   *permissionsBody `json:"consented,omitempty" doc:"What your organization has agreed to. Absent: nothing yet."`
	ConsentedAt *time.Time       `json:"consented_at,omitempty"`
	ConsentedBy string           `json:"consented_by,omitempty"`
	Update      *updateBody      `json:"update,omitempty" doc:"A newer version of the channel."`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	URLs        installationURLs `json:"urls"`
}

type installationURLs struct {
	Self    string `json:"self"`
	Consent string `json:"consent" doc:"POST a version here to agree to what it asks for."`
}

// updateBody is a version that waits.
type updateBody struct {
	Version         string     `json:"version" example:"2.0.0"`
	ConsentRequired bool       `json:"consent_required" doc:"An admin has to agree first. Otherwise it comes with the next run."`
	Change          changeBody `json:"change" doc:"What it asks for beyond what was agreed to."`
}

// installationBodyOf shows an installation; agent is publisher/name.
func installationBodyOf(agent string, i marketplace.Installation, update *updateBody) installationBody {
	self := "/v1/agents/" + agent + "/installation"
	body := installationBody{
		Agent: agent, Channel: i.Channel, Pinned: i.Pinned(), Version: i.Version, Update: update,
		ConsentedAt: when(i.ConsentedAt), ConsentedBy: i.ConsentedBy, CreatedAt: i.CreatedAt.UTC(), UpdatedAt: i.UpdatedAt.UTC(),
		URLs: installationURLs{Self: self, Consent: self + "/consent"},
	}
	if !i.ConsentedAt.IsZero() {
		body.Consented = permissionsBodyOf(i.Consented)
	}
	return body
}
