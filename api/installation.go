package api

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	installRequest struct {
		Channel string `json:"channel,omitempty" minLength:"1" maxLength:"40" doc:"Follow it: updates come with the next run, unless they ask for more than was agreed to." example:"stable"`
		Version string `json:"version,omitempty" minLength:"1" maxLength:"64" doc:"Stay on it. A number, a channel, or latest; it is pinned now."`
	}
	installInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      installRequest
	}
	consentRequest struct {
		Version string `json:"version" minLength:"1" maxLength:"64" pattern:"^[0-9]" doc:"The number of the version whose permissions are agreed to." example:"2.0.0"`
	}
	consentInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      consentRequest
	}
	listInstallationsInput struct {
		ConsentRequired bool   `query:"consent_required" doc:"Only those whose update waits for a consent. Pages may be shorter then."`
		Limit           int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor          string `query:"cursor" maxLength:"200"`
	}
	installationAnswer  struct{ Body installationBody }
	installationsAnswer struct{ Body page[installationBody] }
)

func (a *app) routeInstallation() {
	const path = "/v1/agents/{publisher}/{name}/installation"
	handle(a, route{
		id: "get-installation", method: http.MethodGet, path: path, tag: tagBuying, action: marketplace.ActAgentsRead,
		summary:     "Get how your organization uses an agent",
		description: "Shows the version that runs, what was agreed to, and the update that waits.",
		problems:    []string{"agent_not_found", "installation_not_found"},
	}, a.getInstallation)
	handle(a, route{
		id: "set-installation", method: http.MethodPut, path: path, tag: tagBuying, action: marketplace.ActInstallationManage,
		summary: "Follow a channel of an agent, or pin a version",
		description: "Decides which version the people of your organization get when they name none. " +
			"A version that asks for more than was agreed to cannot be pinned before the consent.",
		problems: []string{"agent_not_found", "version_not_found", "channel_not_found", "consent_required", "installation_own_agent"},
	}, a.setInstallation)
	handle(a, route{
		id: "consent", method: http.MethodPost, path: path + "/consent", tag: tagBuying, action: marketplace.ActInstallationManage,
		summary: "Agree to what a version asks for",
		description: "Lets your organization run the version, and every other one that asks for no more. " +
			"An update that has waited for it runs from now on.",
		problems: []string{"agent_not_found", "version_not_found", "installation_own_agent"},
	}, a.consent)
	handle(a, route{
		id: "list-installations", method: http.MethodGet, path: "/v1/installations", tag: tagBuying, action: marketplace.ActAgentsRead,
		summary:     "List how your organization uses agents",
		description: "Shows an admin which updates wait for a consent, and what they ask for.", problems: []string{"cursor_invalid"},
	}, a.listInstallations)
}

func (a *app) getInstallation(ctx context.Context, in *agentInput) (*installationAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	if claim.Installation == nil {
		return nil, fault.Newf(fault.NotFound, "installation_not_found", "your organization has not installed %s", agent.FullName())
	}
	return a.showInstallation(ctx, agent, *claim.Installation)
}

func (a *app) showInstallation(ctx context.Context, agent product.Agent, i marketplace.Installation) (*installationAnswer, error) {
	_, update, err := a.installs(ctx, agent, i)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return &installationAnswer{installationBodyOf(agent.FullName(), i, update)}, nil
}

// installs is what an installation would run next, and the update beyond it that
// waits, or comes with it. It moves nothing.
func (a *app) installs(ctx context.Context, agent product.Agent, i marketplace.Installation) (product.Version, *updateBody, error) {
	next, err := a.launcher.Installed(ctx, agent, i)
	if err != nil || i.Pinned() {
		return next.Version, nil, err
	}
	following, err := a.launcher.Following(ctx, agent, i.OrgID, i.Channel)
	if err != nil {
		return product.Version{}, nil, err
	}
	return next.Version, a.updateOf(i, following.Version), nil
}

// updateOf is the version of its channel that an installation does not run yet;
// nil: there is none. A first version that needs no consent is no update.
func (a *app) updateOf(i marketplace.Installation, head product.Version) *updateBody {
	agreed := i.Consented
	runs := i.VersionID
	update, moved := i.Next(head, a.Now())
	switch {
	case update != nil:
		return &updateBody{Version: update.Version, ConsentRequired: true, Change: changeBodyOf(update.Change)}
	case moved && runs != "":
		return &updateBody{Version: head.Number, Change: changeBodyOf(agreed.ChangeTo(product.PermissionsOf(head.Manifest)))}
	default:
		return nil
	}
}

// installable finds an agent whose versions the caller's organization chooses.
// The publisher itself runs the latest one.
func (a *app) installable(ctx context.Context, publisher, name string) (product.Agent, marketplace.Claim, error) {
	agent, claim, err := a.claim(ctx, publisher, name)
	if err == nil && claim.OrgID == claim.Publisher {
		err = fault.New(fault.Conflict, "installation_own_agent", "your organization publishes this agent, and runs its latest version")
	}
	return agent, claim, err
}

func (a *app) setInstallation(ctx context.Context, in *installInput) (*installationAnswer, error) {
	if (in.Body.Channel == "") == (in.Body.Version == "") {
		return nil, requestInvalid(
			fault.Field{Pointer: "/channel", Message: "exactly one of channel and version is required"},
			fault.Field{Pointer: "/version", Message: "exactly one of channel and version is required"})
	}
	agent, claim, err := a.installable(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	change := func(i *marketplace.Installation) error { return i.Follow(in.Body.Channel, a.Now()) }
	if in.Body.Version != "" {
		change, err = a.pinning(ctx, agent, in.Body.Version)
	} else {
		err = a.followable(ctx, agent, in.Body.Channel)
	}
	if err != nil {
		return nil, err
	}
	i, err := a.Marketplace.UpdateInstallation(ctx, actor(ctx), claim.OrgID, agent.ID, a.Now(), change)
	if err != nil {
		return nil, a.denied(ctx, agent, err)
	}
	return a.showInstallation(ctx, agent, i)
}

// followable checks that there is a channel. stable is followed before the agent
// has a version.
func (a *app) followable(ctx context.Context, agent product.Agent, channel string) error {
	if !product.ValidChannel(channel) {
		return requestInvalid(fault.Field{Pointer: "/channel", Message: channelRule})
	}
	if channel == product.ChannelStable {
		return nil
	}
	_, err := a.Channels.Resolve(ctx, agent.ID, channel)
	if isNotFound(err) {
		err = fault.Newf(fault.NotFound, "channel_not_found", "%s has no channel %s", agent.FullName(), channel)
	}
	return err
}

func (a *app) pinning(ctx context.Context, agent product.Agent, name string) (func(*marketplace.Installation) error, error) {
	version, err := a.namedVersion(ctx, agent, name)
	return func(i *marketplace.Installation) error {
		if !i.Agrees(product.PermissionsOf(version.Manifest)) {
			return marketplace.ErrConsent(agent.FullName(), version.Number)
		}
		i.Pin(version, a.Now())
		return nil
	}, err
}

// consent records an agreement. Where the version is what the organization
// follows or has pinned, it runs from now on; else what runs now goes on.
func (a *app) consent(ctx context.Context, in *consentInput) (*installationAnswer, error) {
	agent, claim, err := a.installable(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.Agents.VersionByNumber(ctx, agent.ID, in.Body.Version)
	if err != nil {
		return nil, err
	}
	channel, head, running, err := a.consentsFrom(ctx, agent, claim.Installation)
	if err != nil {
		return nil, err
	}
	now, by := a.Now(), actor(ctx)
	i, err := a.Marketplace.UpdateInstallation(ctx, by, claim.OrgID, agent.ID, now, func(i *marketplace.Installation) error {
		pinned := i.Pinned() && i.VersionID == version.ID
		followed := !i.Pinned() && i.Channel == channel && head.ID == version.ID
		if pinned || followed {
			i.Consent(version, by.ID, now)
		} else {
			i.Agree(version, running, by.ID, now)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.showInstallation(ctx, agent, i)
}

// consentsFrom is where an organization stands before a consent: the channel that
// it follows and what that points at, and what the version needs that it runs.
func (a *app) consentsFrom(ctx context.Context, agent product.Agent, i *marketplace.Installation) (
	channel string, head product.Version, running product.Permissions, err error,
) {
	channel = product.ChannelStable
	if i != nil {
		channel = i.Channel
	}
	if channel != "" {
		if head, err = a.namedVersion(ctx, agent, channel); err != nil && !isNotFound(err) {
			return "", product.Version{}, product.Permissions{}, err
		}
	}
	if i == nil || i.VersionID == "" {
		return channel, head, running, nil
	}
	runs, err := a.Agents.Version(ctx, i.VersionID)
	return channel, head, product.PermissionsOf(runs.Manifest), err
}

func (a *app) listInstallations(ctx context.Context, in *listInstallationsInput) (*installationsAnswer, error) {
	before, err := decodeCursor[ids.Agent](ids.PrefixAgent, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Installations(ctx, requestOf(ctx).caller.OrgID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	shown := found[:min(len(found), in.Limit)]
	agents, heads, err := a.headsOf(ctx, shown)
	if err != nil {
		return nil, err
	}
	all := pageOf(found, in.Limit, func(i marketplace.Installation) ids.Agent { return i.AgentID }, func(i marketplace.Installation) installationBody {
		var update *updateBody
		if head, ok := heads[product.ChannelName{Agent: i.AgentID, Name: i.Channel}]; ok {
			update = a.updateOf(i, head)
		}
		return installationBodyOf(agents[i.AgentID].FullName(), i, update)
	})
	if in.ConsentRequired {
		waiting := []installationBody{}
		for _, body := range all.Items {
			if body.Update != nil && body.Update.ConsentRequired {
				waiting = append(waiting, body)
			}
		}
		all.Items = waiting
	}
	return &installationsAnswer{all}, nil
}

// headsOf reads the agents of installations, and what their channels point at.
func (a *app) headsOf(ctx context.Context, installations []marketplace.Installation) (
	map[ids.Agent]product.Agent, map[product.ChannelName]product.Version, error,
) {
	var named []ids.Agent
	var followed []product.ChannelName
	for _, i := range installations {
		named = append(named, i.AgentID)
		if !i.Pinned() {
			followed = append(followed, product.ChannelName{Agent: i.AgentID, Name: i.Channel})
		}
	}
	agents, err := a.Names.AgentsByID(ctx, named)
	if err != nil {
		return nil, nil, err
	}
	heads, err := a.Channels.Heads(ctx, followed)
	return agents, heads, err
}
