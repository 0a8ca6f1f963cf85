package api

import (
	"context"
	"net/http"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	decisionRequest struct {
		Comment  string `json:"comment,omitempty" minLength:"1" maxLength:"4000" doc:"For the publisher." example:"Welcome."`
		Internal string `json:"internal_comment,omitempty" minLength:"1" maxLength:"4000" doc:"For operators only."`
	}
	rejectRequest struct {
		Comment  string `json:"comment" minLength:"1" maxLength:"4000" doc:"For the publisher: what has to change." example:"Say which invoices it reads."`
		Internal string `json:"internal_comment,omitempty" minLength:"1" maxLength:"4000" doc:"For operators only."`
	}
	suspendRequest struct {
		Notice   string `json:"notice" minLength:"1" maxLength:"500" doc:"What buyers are told." example:"It is being looked into."`
		Comment  string `json:"comment,omitempty" minLength:"1" maxLength:"4000" doc:"For the publisher."`
		Internal string `json:"internal_comment,omitempty" minLength:"1" maxLength:"4000" doc:"For operators only."`
	}
	deskCommentRequest struct {
		Comment  string `json:"comment" minLength:"1" maxLength:"4000" example:"Which invoices does it read?"`
		Internal bool   `json:"internal,omitempty" doc:"For operators only. Default: for the publisher, too."`
	}
	decisionInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      *decisionRequest
	}
	rejectInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      rejectRequest
	}
	suspendInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      suspendRequest
	}
	deskCommentInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      deskCommentRequest
	}
)

// deskBody is a listing as operators see it.
type deskBody struct {
	Listing  listingBody   `json:"listing"`
	Comments []commentBody `json:"comments" doc:"The last 200, the internal ones too, newest first."`
}

const deskComments = 200

type deskAnswer struct{ Body deskBody }

type anyReviewInput struct {
	ID string `path:"id" example:"rev_01jd3m0f9zq4x8v5c7n2b6k1ta"`
}

// routeReviewDesk registers the calls of those who review listings.
func (a *app) routeReviewDesk() {
	const path = "/v1/platform/listings/{publisher}/{name}"
	absent := []string{"agent_not_found", "listing_not_found"}
	step := append([]string{"listing_state"}, absent...)
	handle(a, route{
		id: "list-submissions", method: http.MethodGet, path: "/v1/platform/submissions", tag: tagPlatform, action: marketplace.ActPlatformRead,
		summary:     "List the listings that are in review, the oldest submission first",
		description: "Is the operators' queue: who has waited longest comes first.", problems: []string{"cursor_invalid"},
	}, a.listSubmissions)
	handle(a, route{
		id: "get-any-listing", method: http.MethodGet, path: path, tag: tagPlatform, action: marketplace.ActPlatformRead,
		summary:     "Get a listing in whatever state, with what was said about it",
		description: "Shows an operator what buyers would see, what the checks found, and the comments.", problems: absent,
	}, a.getAnyListing)
	handle(a, route{
		id: "comment-on-submission", method: http.MethodPost, path: path + "/comments", tag: tagPlatform, action: marketplace.ActPlatformReview,
		status: http.StatusCreated, summary: "Comment on a listing",
		description: "Asks the publisher something, or leaves a note for other operators, without deciding.", problems: absent,
	}, a.commentOnSubmission)
	handle(a, route{
		id: "approve-listing", method: http.MethodPost, path: path + "/approve", tag: tagPlatform, action: marketplace.ActPlatformReview,
		optionalBody: true, summary: "Publish a listing that is in review",
		description: "Buyers find it from now on.", problems: step,
	}, func(ctx context.Context, in *decisionInput) (*deskAnswer, error) {
		return a.decideListing(ctx, in, "listing.approve", func(l *marketplace.Listing) error { return l.Approve(a.Now()) })
	})
	handle(a, route{
		id: "reject-listing", method: http.MethodPost, path: path + "/reject", tag: tagPlatform, action: marketplace.ActPlatformReview,
		summary:     "Send a listing that is in review back to its publisher",
		description: "The publisher reads the comment, edits the draft and submits it again.", problems: step,
	}, func(ctx context.Context, in *rejectInput) (*deskAnswer, error) {
		said := decisionRequest{Comment: in.Body.Comment, Internal: in.Body.Internal}
		return a.decideListing(ctx, &decisionInput{in.Publisher, in.Name, &said}, "listing.reject", (*marketplace.Listing).Reject)
	})
	handle(a, route{
		id: "suspend-listing", method: http.MethodPost, path: path + "/suspend", tag: tagPlatform, action: marketplace.ActPlatformReview,
		summary:     "Stop an agent for everybody but its publisher",
		description: "Nobody finds it, orders it or starts a run of it any more; buyers read the notice. Runs that go on are not touched.", problems: step,
	}, func(ctx context.Context, in *suspendInput) (*deskAnswer, error) {
		said := decisionRequest{Comment: in.Body.Comment, Internal: in.Body.Internal}
		return a.decideListing(ctx, &decisionInput{in.Publisher, in.Name, &said}, "listing.suspend",
			func(l *marketplace.Listing) error { return l.Suspend(in.Body.Notice) })
	})
	handle(a, route{
		id: "reinstate-listing", method: http.MethodPost, path: path + "/reinstate", tag: tagPlatform, action: marketplace.ActPlatformReview,
		optionalBody: true, summary: "End the suspension of a listing",
		description: "What was published is published again; what never was, is a draft.", problems: step,
	}, func(ctx context.Context, in *decisionInput) (*deskAnswer, error) {
		return a.decideListing(ctx, in, "listing.reinstate", (*marketplace.Listing).Reinstate)
	})
	handle(a, route{
		id: "delete-any-review", method: http.MethodDelete, path: "/v1/platform/reviews/{id}", tag: tagPlatform, action: marketplace.ActPlatformReview,
		status: http.StatusNoContent, summary: "Delete a review of any organization",
		description: "Takes down what must not stand there. Who wrote it finds it in the audit log.", problems: []string{"review_not_found"},
	}, a.deleteAnyReview)
}

// deleteAnyReview removes a review in the name of the platform.
func (a *app) deleteAnyReview(ctx context.Context, in *anyReviewInput) (*emptyAnswer, error) {
	if err := known(ids.PrefixReview, in.ID, "review"); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.DeleteReview(ctx, actor(ctx), "", ids.Review(in.ID), a.Now())
}

func (a *app) listSubmissions(ctx context.Context, in *listInput) (*listingsAnswer, error) {
	after, err := decodeCursor[ids.Agent](ids.PrefixAgent, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Submissions(ctx, after, in.Limit+1)
	if isNotFound(err) {
		err = errCursor()
	}
	if err != nil {
		return nil, err
	}
	return &listingsAnswer{pageOf(found, in.Limit, listingID, a.insideSummary)}, nil
}

func (a *app) getAnyListing(ctx context.Context, in *agentInput) (*deskAnswer, error) {
	agent, err := a.Agents.AgentByName(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	listing, err := a.Marketplace.Listing(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	return a.onDesk(ctx, agent, listing)
}

func (a *app) onDesk(ctx context.Context, agent product.Agent, l marketplace.Listing) (*deskAnswer, error) {
	body, err := a.ownListing(ctx, agent, l)
	if err != nil {
		return nil, err
	}
	comments, err := a.Marketplace.Comments(ctx, agent.ID, true, "", deskComments)
	if err != nil {
		return nil, err
	}
	answer := &deskAnswer{deskBody{Listing: body, Comments: make([]commentBody, len(comments))}}
	for i, c := range comments {
		answer.Body.Comments[i] = commentBodyOf(c)
	}
	return answer, nil
}

func (a *app) commentOnSubmission(ctx context.Context, in *deskCommentInput) (*commentAnswer, error) {
	agent, err := a.Agents.AgentByName(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	return a.comment(ctx, agent.ID, in.Body.Comment, in.Body.Internal, "/v1/platform/listings/"+agent.FullName())
}

// decideListing makes a step of a listing in the name of the platform.
func (a *app) decideListing(ctx context.Context, in *decisionInput, action string, step func(*marketplace.Listing) error) (*deskAnswer, error) {
	agent, err := a.Agents.AgentByName(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	var comments []marketplace.Comment
	if in.Body != nil {
		if comments, err = a.remarks(ctx, agent.ID, in.Body.Comment, in.Body.Internal); err != nil {
			return nil, err
		}
	}
	listing, err := a.changeListing(ctx, agent.ID, action, comments, step)
	if err != nil {
		return nil, err
	}
	return a.onDesk(ctx, agent, listing)
}
