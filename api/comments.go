package api

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

type (
	commentRequest struct {
		Comment string `json:"comment" minLength:"1" maxLength:"4000" example:"Which invoices does it read?"`
	}
	commentInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      commentRequest
	}
	commentAnswer struct {
		Location string `header:"Location" doc:"The comments."`
		Body     commentBody
	}
	listCommentsInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor    string `query:"cursor" maxLength:"200"`
	}
	commentsAnswer struct{ Body page[commentBody] }
)

func (a *app) routeListingComments() {
	const path = "/v1/agents/{publisher}/{name}/listing/comments"
	handle(a, route{
		id: "list-listing-comments", method: http.MethodGet, path: path, tag: tagPublishing, action: marketplace.ActAgentsRead,
		summary:     "List the comments on your listing",
		description: "Tells the publisher what the reviewers said, and why a submission was rejected.",
		problems:    []string{"agent_not_found", "listing_not_found", "cursor_invalid"},
	}, a.listListingComments)
	handle(a, route{
		id: "comment-on-listing", method: http.MethodPost, path: path, tag: tagPublishing, action: marketplace.ActListingsManage,
		status: http.StatusCreated, summary: "Comment on your listing",
		description: "Answers the reviewers, whatever state the listing is in.",
		problems:    []string{"agent_not_found", "listing_not_found"},
	}, a.commentOnListing)
}

func (a *app) listListingComments(ctx context.Context, in *listCommentsInput) (*commentsAnswer, error) {
	before, err := decodeCursor[ids.Comment](ids.PrefixComment, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	if _, err := a.Marketplace.Listing(ctx, agent.ID); err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Comments(ctx, agent.ID, false, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &commentsAnswer{pageOf(found, in.Limit, func(c marketplace.Comment) ids.Comment { return c.ID }, commentBodyOf)}, nil
}

func (a *app) commentOnListing(ctx context.Context, in *commentInput) (*commentAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	return a.comment(ctx, agent.ID, in.Body.Comment, false, agentPath(in.Publisher, in.Name)+"/listing/comments")
}

// comment stores a remark, to be read at a path, and changes nothing else.
func (a *app) comment(ctx context.Context, agent ids.Agent, text string, internal bool, location string) (*commentAnswer, error) {
	comment, err := marketplace.NewComment(agent, actor(ctx).ID, text, internal, a.Now())
	if err != nil {
		return nil, err
	}
	_, err = a.changeListing(ctx, agent, "listing.comment", []marketplace.Comment{comment}, func(*marketplace.Listing) error { return nil })
	if err != nil {
		return nil, err
	}
	return &commentAnswer{Location: location, Body: commentBodyOf(comment)}, nil
}

// remarks makes comments of what is said with a step of a listing: to the
// publisher and among operators. Empty texts are none.
func (a *app) remarks(ctx context.Context, agent ids.Agent, open, internal string) (comments []marketplace.Comment, err error) {
	for _, said := range []struct {
		pointer, text string
		internal      bool
	}{{"/comment", open, false}, {"/internal_comment", internal, true}} {
		if said.text == "" {
			continue
		}
		c, err := marketplace.NewComment(agent, actor(ctx).ID, said.text, said.internal, a.Now())
		if err != nil {
			return nil, requestInvalid(fault.Field{Pointer: said.pointer, Message: fault.From(err).Fields[0].Message})
		}
		comments = append(comments, c)
	}
	return comments, nil
}
