package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Installation is how an organization uses an agent: which version it gets when
// a start names none, and what it has consented to.
type Installation struct {
	OrgID   ids.Org
	AgentID ids.Agent
	// Channel is followed; empty: the version is pinned.
	Channel string
	// VersionID and Version are what runs now: the pinned version, or the newest
	// one of the channel that the consent covers. Empty: none yet (a preview).
	VersionID ids.Version
	Version   string

	Consented   product.Permissions
	ConsentedAt time.Time // zero: never
	ConsentedBy string    // identifier of the actor

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Pinned reports whether updates are off.
func (i Installation) Pinned() bool { return i.Channel == "" }

// NewInstallation follows the stable channel.
func NewInstallation(org ids.Org, agent ids.Agent, now time.Time) Installation {
	return Installation{OrgID: org, AgentID: agent, Channel: product.ChannelStable, CreatedAt: now, UpdatedAt: now}
}

// Consent records that the organization agrees to what a version asks for. What
// it has agreed to before and the version does not ask for any more is dropped.
func (i *Installation) Consent(v product.Version, by string, now time.Time) {
	i.Consented, i.ConsentedAt, i.ConsentedBy = product.PermissionsOf(v.Manifest), now, by
	i.VersionID, i.Version, i.UpdatedAt = v.ID, v.Number, now
}

// Agree records a consent to a version that does not run: what does, which needs
// these permissions, goes on, and what was agreed to before stays agreed to.
func (i *Installation) Agree(v product.Version, running product.Permissions, by string, now time.Time) {
	i.Consented = i.Consented.With(running).With(product.PermissionsOf(v.Manifest))
	i.ConsentedAt, i.ConsentedBy, i.UpdatedAt = now, by, now
}

// Agrees reports whether the organization has consented to what is asked for, or
// need not.
func (i Installation) Agrees(asked product.Permissions) bool {
	if i.ConsentedAt.IsZero() {
		return !asked.NeedsConsent()
	}
	return i.Consented.Covers(asked)
}

// Pin stops updates at a version.
func (i *Installation) Pin(v product.Version, now time.Time) {
	i.Channel, i.VersionID, i.Version, i.UpdatedAt = "", v.ID, v.Number, now
}

// Follow turns updates on.
func (i *Installation) Follow(channel string, now time.Time) error {
	if !product.ValidChannel(channel) {
		return invalidField("/channel", "must be the name of a channel")
	}
	i.Channel, i.UpdatedAt = channel, now
	return nil
}

// Update is a version of the followed channel that waits for something.
type Update struct {
	Version string
	// Change is what it asks for that the organization has not consented to.
	Change product.PermissionChange
}

// Next decides what an installation that follows a channel runs, given the
// newest version of the channel: head itself where the consent covers it; else
// what it runs now, and the update that waits for a consent. moved says that the
// installation is to be stored with its new version.
func (i *Installation) Next(head product.Version, now time.Time) (update *Update, moved bool) {
	if i.Pinned() || i.VersionID == head.ID {
		return nil, false
	}
	asked := product.PermissionsOf(head.Manifest)
	if !i.Agrees(asked) {
		return &Update{Version: head.Number, Change: i.Consented.ChangeTo(asked)}, false
	}
	i.VersionID, i.Version, i.UpdatedAt = head.ID, head.Number, now
	return nil, true
}

// ErrConsent is the denial of a version that needs a consent first.
func ErrConsent(agent, version string) error {
	return fault.Newf(fault.Forbidden, CodeConsentRequired,
		"version %s of %s asks for more than your organization has consented to", version, agent)
}
