package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// channelBody is a name that points at a version.
type channelBody struct {
	Channel   string     `json:"channel" example:"stable"`
	Version   string     `json:"version" example:"1.2.0"`
	Implicit  bool       `json:"implicit" doc:"The publisher has not set it: it is the newest version."`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

func channelBodyOf(c product.Channel) channelBody {
	return channelBody{Channel: c.Name, Version: c.Version, UpdatedAt: when(c.UpdatedAt)}
}

type (
	setChannelRequest struct {
		Version string `json:"version" minLength:"1" maxLength:"64" doc:"A number." example:"1.2.0"`
	}
	setChannelInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Channel   string `path:"channel" maxLength:"40" doc:"1 to 40 lower-case letters, digits and inner hyphens, a letter first; not latest." example:"beta"`
		Body      setChannelRequest
	}
	channelInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Channel   string `path:"channel" maxLength:"40" example:"beta"`
	}
	channelAnswer  struct{ Body channelBody }
	channelsAnswer struct{ Body page[channelBody] }
)

func (a *app) routeChannels() {
	const path = "/v1/agents/{publisher}/{name}/channels"
	handle(a, route{
		id: "list-channels", method: http.MethodGet, path: path, tag: tagAgents, action: marketplace.ActAgentsRead,
		summary:     "List the channels of an agent, by name",
		description: "Shows what can be followed. stable is there as soon as the agent has a version, set or not.",
		problems:    []string{"agent_not_found"},
	}, a.listChannels)
	handle(a, route{
		id: "set-channel", method: http.MethodPut, path: path + "/{channel}", tag: tagAgents, action: marketplace.ActAgentsPublish,
		summary:     "Point a channel at a version",
		description: "Buyers who follow the channel get the version with their next run, or, where it asks for more than they agreed to, after their consent.",
		problems:    []string{"agent_not_found", "version_not_found", "rollout_active"},
	}, a.setChannel)
	handle(a, route{
		id: "delete-channel", method: http.MethodDelete, path: path + "/{channel}", tag: tagAgents, action: marketplace.ActAgentsPublish,
		status: http.StatusNoContent, summary: "Remove a channel",
		description: "Who follows it can start no runs until it follows another one. stable becomes the newest version.",
		problems:    []string{"agent_not_found", "channel_not_found", "rollout_active"},
	}, a.deleteChannel)
}

func (a *app) listChannels(ctx context.Context, in *agentInput) (*channelsAnswer, error) {
	agent, _, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	channels, err := a.Channels.Channels(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	items := make([]channelBody, len(channels))
	for i, c := range channels {
		items[i] = channelBodyOf(c)
	}
	if !slices.ContainsFunc(items, func(c channelBody) bool { return c.Channel == product.ChannelStable }) {
		stable, err := a.offeredVersion(ctx, agent)
		if err != nil {
			return nil, err
		}
		if stable != nil {
			items = slices.Insert(items, 0, channelBody{Channel: product.ChannelStable, Version: stable.Number, Implicit: true})
			slices.SortFunc(items, func(a, b channelBody) int { return strings.Compare(a.Channel, b.Channel) })
		}
	}
	return &channelsAnswer{page[channelBody]{Items: items}}, nil
}

func (a *app) setChannel(ctx context.Context, in *setChannelInput) (*channelAnswer, error) {
	if !product.ValidChannel(in.Channel) {
		return nil, requestInvalid(fault.Field{Pointer: "channel", Message: channelRule})
	}
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	channel, err := a.Channels.SetChannel(ctx, actor(ctx), agent.ID, in.Channel, in.Body.Version, a.Now())
	if err != nil {
		return nil, err
	}
	return &channelAnswer{channelBodyOf(channel)}, nil
}

const channelRule = "must be 1 to 40 lower-case letters, digits and inner hyphens, a letter first, and not latest"

func (a *app) deleteChannel(ctx context.Context, in *channelInput) (*emptyAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	return nil, a.Channels.DeleteChannel(ctx, actor(ctx), agent.ID, in.Channel, a.Now())
}
