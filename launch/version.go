package launch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Chosen is the version that a start gets, and why.
type Chosen struct {
	product.Version
	Rule string // as in product.Source

	// move is the installation that follows to the version with the next start;
	// nil: it stays where it is.
	move *marketplace.Installation
}

// Version finds what a start would run: a number, a channel or latest. Without one
// it is what the organization has installed: the pinned version, or the newest of
// its channel that it has consented to; the publisher itself gets the latest. It
// changes nothing.
func (l *Launcher) Version(ctx context.Context, agent product.Agent, claim marketplace.Claim, wanted string) (Chosen, error) {
	switch {
	case wanted != "":
		return l.named(ctx, agent, claim, wanted)
	case claim.OrgID == claim.Publisher:
		return l.named(ctx, agent, claim, product.Latest)
	case claim.Installation != nil:
		return l.Installed(ctx, agent, *claim.Installation)
	default:
		return l.named(ctx, agent, claim, product.ChannelStable)
	}
}

// Installed is what an installation runs: it moves on where its channel has a
// version that the consent covers. It changes nothing.
func (l *Launcher) Installed(ctx context.Context, agent product.Agent, i marketplace.Installation) (Chosen, error) {
	if i.Pinned() {
		version, err := l.Agents.Version(ctx, i.VersionID)
		return Chosen{Version: version, Rule: product.RulePin}, err
	}
	head, err := l.head(ctx, agent, i.OrgID, i.Channel, i.Agrees)
	if err != nil {
		return Chosen{}, err
	}
	running := i.VersionID
	update, moved := i.Next(head.Version, l.Now())
	switch {
	case update != nil && running != "": // it waits for a consent
		version, err := l.Agents.Version(ctx, running)
		return Chosen{Version: version, Rule: product.RuleInstallation}, err
	case moved:
		head.move = &i
	}
	return head, nil
}

// named finds a version by number, by channel or by latest.
func (l *Launcher) named(ctx context.Context, agent product.Agent, claim marketplace.Claim, name string) (Chosen, error) {
	if product.ValidChannel(name) {
		return l.head(ctx, agent, claim.OrgID, name, claim.Agrees)
	}
	rule := product.RuleRequest
	if name == product.Latest {
		rule = product.RuleLatest
	}
	version, err := l.Named(ctx, agent, name)
	return Chosen{Version: version, Rule: rule}, err
}

// head is what an organization gets of a channel. A rollout of the channel does not
// reach who does not agree to what its version asks for.
func (l *Launcher) head(
	ctx context.Context, agent product.Agent, org ids.Org, channel string, agrees func(product.Permissions) bool,
) (Chosen, error) {
	head, err := l.Following(ctx, agent, org, channel)
	if err != nil || head.Rule != product.RuleRollout || agrees(product.PermissionsOf(head.Manifest)) {
		return head, err
	}
	version, err := l.Named(ctx, agent, channel)
	return Chosen{Version: version, Rule: product.RuleChannel}, err
}

// Following finds what an organization gets that follows a channel. While a rollout
// of the channel goes on, that is up to the rollout.
func (l *Launcher) Following(ctx context.Context, agent product.Agent, org ids.Org, channel string) (Chosen, error) {
	rollouts, err := l.Control.ActiveRollouts(ctx, agent.ID)
	if err != nil {
		return Chosen{}, err
	}
	i := slices.IndexFunc(rollouts, func(r product.Rollout) bool { return r.Channel == channel && r.Covers(org) })
	if i >= 0 {
		version, err := l.Agents.Version(ctx, rollouts[i].ToID)
		return Chosen{Version: version, Rule: product.RuleRollout}, err
	}
	version, err := l.Named(ctx, agent, channel)
	return Chosen{Version: version, Rule: product.RuleChannel}, err
}

// Named finds a version by number, by what a channel points at whoever asks, or by
// latest.
func (l *Launcher) Named(ctx context.Context, agent product.Agent, name string) (product.Version, error) {
	version, err := l.Channels.Resolve(ctx, agent.ID, name)
	if isNotFound(err) {
		err = fault.Newf(fault.NotFound, "version_not_found", "%s has no version %s", agent.FullName(), name)
	}
	return version, err
}

// moveInstallation stores that the installation runs another version from now on.
func (l *Launcher) moveInstallation(ctx context.Context, s Start, c considered) error {
	if c.move == nil {
		return nil
	}
	now := l.Now()
	_, err := l.Market.UpdateInstallation(ctx, s.Actor, c.claim.OrgID, c.agent.ID, now, follow(c.version, now))
	if err != nil {
		return fmt.Errorf("update %s to %s: %w", c.agent.FullName(), c.version.Number, err)
	}
	return nil
}

func follow(head product.Version, now time.Time) func(*marketplace.Installation) error {
	return func(stored *marketplace.Installation) error {
		stored.Next(head, now)
		return nil
	}
}
