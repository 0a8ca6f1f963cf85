package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// reviewBody is what some organization thinks of a version. Which one it is, is
// not told.
type reviewBody struct {
	ID        string    `json:"id" example:"rev_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Version   string    `json:"version" example:"1.2.0"`
	Rating    int       `json:"rating" doc:"1 to 5." example:"4"`
	Title     string    `json:"title"`
	Text      string    `json:"text,omitempty"`
	Own       bool      `json:"own" doc:"It is your organization's."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func reviewBodyFor(org ids.Org, r marketplace.Review) reviewBody {
	return reviewBody{
		ID: string(r.ID), Version: r.Version, Rating: r.Rating, Title: r.Title, Text: r.Text, Own: r.OrgID == org,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

type (
	reviewRequest struct {
		Version string `json:"version" minLength:"1" maxLength:"64" pattern:"^[0-9]" doc:"The number of a version that your organization has run." example:"1.2.0"`
		Rating  int    `json:"rating" minimum:"1" maximum:"5" example:"4"`
		Title   string `json:"title" minLength:"1" maxLength:"80" doc:"On one line." example:"Reads what we have"`
		Text    string `json:"text,omitempty" maxLength:"4000"`
	}
	putReviewInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      reviewRequest
	}
	listReviewsInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor    string `query:"cursor" maxLength:"200"`
	}
	reviewInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		ID        string `path:"id" example:"rev_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	reviewAnswer  struct{ Body reviewBody }
	reviewsAnswer struct{ Body page[reviewBody] }
)

func (a *app) routeReviews() {
	const path = "/v1/agents/{publisher}/{name}/reviews"
	handle(a, route{
		id: "list-reviews", method: http.MethodGet, path: path, tag: tagCatalog, action: marketplace.ActAgentsRead,
		summary:     "List the reviews of an agent",
		description: "Tells a buyer what others think who have run it.", problems: []string{"agent_not_found", "cursor_invalid"},
	}, a.listReviews)
	handle(a, route{
		id: "put-review", method: http.MethodPut, path: path, tag: tagCatalog, action: marketplace.ActReviewsWrite,
		summary: "Review a version, or change the review of it",
		description: "There is one review for each organization and version. It can be written once a run of the version has started and ended; " +
			"the publisher cannot review its own agents.",
		problems: []string{"agent_not_found", "listing_not_found", "version_not_found", "review_needs_run", "review_own_agent"},
	}, a.putReview)
	handle(a, route{
		id: "delete-review", method: http.MethodDelete, path: path + "/{id}", tag: tagCatalog, action: marketplace.ActReviewsWrite,
		status: http.StatusNoContent, summary: "Delete a review of your organization",
		description: "The rating of the agent is counted without it from then on.",
		problems:    []string{"agent_not_found", "review_not_found"},
	}, a.deleteReview)
}

func (a *app) listReviews(ctx context.Context, in *listReviewsInput) (*reviewsAnswer, error) {
	before, err := decodeCursor[ids.Review](ids.PrefixReview, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Reviews(ctx, agent.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &reviewsAnswer{pageOf(found, in.Limit, func(r marketplace.Review) ids.Review { return r.ID },
		func(r marketplace.Review) reviewBody { return reviewBodyFor(claim.OrgID, r) })}, nil
}

func (a *app) putReview(ctx context.Context, in *putReviewInput) (*reviewAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.namedVersion(ctx, agent, in.Body.Version)
	if err != nil {
		return nil, err
	}
	review, err := marketplace.NewReview(marketplace.Review{
		AgentID: agent.ID, OrgID: claim.OrgID, VersionID: version.ID, Version: version.Number, Author: actor(ctx).ID,
		Rating: in.Body.Rating, Title: in.Body.Title, Text: in.Body.Text,
	}, a.Now())
	if err != nil {
		return nil, err
	}
	if review, err = a.Marketplace.PutReview(ctx, actor(ctx), review); err != nil {
		return nil, err
	}
	return &reviewAnswer{reviewBodyFor(claim.OrgID, review)}, nil
}

func (a *app) deleteReview(ctx context.Context, in *reviewInput) (*emptyAnswer, error) {
	_, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	if err := known(ids.PrefixReview, in.ID, "review"); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.DeleteReview(ctx, actor(ctx), claim.OrgID, ids.Review(in.ID), a.Now())
}
