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
	putListingInput struct {
		Publisher string `path:"publisher" maxLength:"40" doc:"Your organization." example:"acme"`
		Name      string `path:"name" maxLength:"40" pattern:"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"The agent, which need not exist yet." example:"greeter"`
		Body      listingRequest
	}
	// stepRequest is what may be said with a step of a listing.
	stepRequest struct {
		Comment string `json:"comment,omitempty" minLength:"1" maxLength:"4000" doc:"For those who review the listing." example:"The summary is corrected."`
	}
	stepInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      *stepRequest
	}
	deprecateRequest struct {
		Notice string `json:"notice,omitempty" minLength:"1" maxLength:"500" doc:"What buyers are told." example:"Use acme/greeter-2."`
	}
	deprecateInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      *deprecateRequest
	}
	putListingAnswer struct {
		Status   int
		Location string `header:"Location" doc:"The listing."`
		Body     listingBody
	}
	listingAnswer  struct{ Body listingBody }
	listingsAnswer struct{ Body page[listingBody] }
)

func (a *app) routeListings() {
	const path = "/v1/agents/{publisher}/{name}/listing"
	handle(a, route{
		id: "put-listing", method: http.MethodPut, path: path, tag: tagPublishing, action: marketplace.ActListingsManage,
		status: http.StatusOK, alsoStatus: http.StatusCreated, summary: "Create or edit the listing of an agent",
		description: "Says what buyers read. An agent that does not exist yet is created without a version: a preview, which can be listed and bought. " +
			"What is published and is to be seen by more people than were approved becomes a draft again; what is in review must be withdrawn first.",
		problems: []string{"agent_not_found", "agent_taken", "listing_state"},
	}, a.putListing)
	handle(a, route{
		id: "get-listing", method: http.MethodGet, path: path, tag: tagCatalog, action: marketplace.ActAgentsRead,
		summary:     "Get the listing of an agent",
		description: "Answers with all that buyers read. The publisher also sees drafts, and what the checks of the last submission found.",
		problems:    []string{"agent_not_found", "listing_not_found"},
	}, a.getListing)
	handle(a, route{
		id: "submit-listing", method: http.MethodPost, path: path + "/submit", tag: tagPublishing, action: marketplace.ActListingsManage,
		optionalBody: true, summary: "Submit a listing for publication",
		description: "Runs the automated checks against the version that buyers would get, and puts the listing into review, or, " +
			"where no review is needed, publishes it. A failed check refuses the submission and changes nothing.",
		problems: []string{"agent_not_found", "listing_not_found", "listing_state", "listing_checks_failed"},
	}, a.submitListing)
	a.routeListingSteps(path)
	handle(a, route{
		id: "list-listings", method: http.MethodGet, path: "/v1/listings", tag: tagPublishing, action: marketplace.ActAgentsRead,
		summary:     "List the listings of your organization, in every state",
		description: "Shows a publisher where each of its listings stands.", problems: []string{"cursor_invalid"},
	}, a.listListings)
	a.routeListingComments()
	a.routeGrants()
	a.routeChannels()
	a.routeRollouts()
}

func (a *app) routeListingSteps(path string) {
	step := []string{"agent_not_found", "listing_not_found", "listing_state"}
	handle(a, route{
		id: "withdraw-listing", method: http.MethodPost, path: path + "/withdraw", tag: tagPublishing, action: marketplace.ActListingsManage,
		optionalBody: true, summary: "Take a submission back",
		description: "A listing in review becomes a draft, which can be edited and submitted again.", problems: step,
	}, func(ctx context.Context, in *stepInput) (*listingAnswer, error) {
		return a.stepListing(ctx, in, "listing.withdraw", (*marketplace.Listing).Withdraw)
	})
	handle(a, route{
		id: "deprecate-listing", method: http.MethodPost, path: path + "/deprecate", tag: tagPublishing, action: marketplace.ActListingsManage,
		optionalBody: true, summary: "Take a listing out of the catalog",
		description: "Nobody new finds or orders the agent; who has it keeps it, and reads the notice.", problems: step,
	}, a.deprecateListing)
	handle(a, route{
		id: "restore-listing", method: http.MethodPost, path: path + "/restore", tag: tagPublishing, action: marketplace.ActListingsManage,
		optionalBody: true, summary: "Put a deprecated listing back into the catalog",
		description: "Buyers find it again, and the notice is gone.", problems: step,
	}, func(ctx context.Context, in *stepInput) (*listingAnswer, error) {
		return a.stepListing(ctx, in, "listing.restore", (*marketplace.Listing).Restore)
	})
}

// changeListing changes a listing in the name of the caller, and stores what is
// said with it.
func (a *app) changeListing(ctx context.Context, agent ids.Agent, action string, comments []marketplace.Comment,
	change func(*marketplace.Listing) error,
) (marketplace.Listing, error) {
	return a.Marketplace.UpdateListing(ctx, actor(ctx), agent, action, comments, change)
}

// ownListing is a listing as its publisher sees it.
func (a *app) ownListing(ctx context.Context, agent product.Agent, l marketplace.Listing) (listingBody, error) {
	version, err := a.offeredVersion(ctx, agent)
	return a.listingWhole(l, version).inside(l), err
}

// offeredVersion is what a new buyer would get; nil for a preview.
func (a *app) offeredVersion(ctx context.Context, agent product.Agent) (*product.Version, error) {
	version, err := a.namedVersion(ctx, agent, product.ChannelStable)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // an agent can be listed before it has a version
	}
	return &version, err
}

func (a *app) getListing(ctx context.Context, in *agentInput) (*listingAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	listing, err := a.listingFor(ctx, agent, claim)
	if err == nil && listing == nil {
		err = fault.Newf(fault.NotFound, "listing_not_found", "%s has no listing", agent.FullName())
	}
	if err != nil {
		return nil, err
	}
	if claim.OrgID == claim.Publisher {
		body, err := a.ownListing(ctx, agent, *listing)
		return &listingAnswer{body}, err
	}
	version, err := a.offeredVersion(ctx, agent)
	return &listingAnswer{a.listingWhole(*listing, version)}, err
}

// listingFor finds the listing of an agent as far as the caller may see it: what
// is not out is for the publisher only. nil: there is none.
func (a *app) listingFor(ctx context.Context, agent product.Agent, claim marketplace.Claim) (*marketplace.Listing, error) {
	switch claim.Status {
	case "":
		return nil, nil //nolint:nilnil // an agent need not be listed
	case marketplace.ListingDraft, marketplace.ListingInReview:
		if claim.OrgID != claim.Publisher {
			return nil, nil //nolint:nilnil // as if there were none
		}
	case marketplace.ListingPublished, marketplace.ListingDeprecated, marketplace.ListingSuspended:
	}
	listing, err := a.Marketplace.Listing(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	return &listing, nil
}

func (a *app) listListings(ctx context.Context, in *listInput) (*listingsAnswer, error) {
	before, err := decodeCursor[ids.Agent](ids.PrefixAgent, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.ListingsOf(ctx, requestOf(ctx).caller.OrgID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &listingsAnswer{pageOf(found, in.Limit, listingID, a.insideSummary)}, nil
}

func listingID(l marketplace.Listing) ids.Agent { return l.AgentID }

// insideSummary is a listing in a list of its publisher or of operators.
func (a *app) insideSummary(l marketplace.Listing) listingBody { return a.listingSummary(l).inside(l) }

// stepListing makes a step of a listing that needs nothing but its state.
func (a *app) stepListing(ctx context.Context, in *stepInput, action string, step func(*marketplace.Listing) error) (*listingAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	comments, err := a.stepComment(ctx, agent, in.Body)
	if err != nil {
		return nil, err
	}
	listing, err := a.changeListing(ctx, agent.ID, action, comments, step)
	if err != nil {
		return nil, err
	}
	body, err := a.ownListing(ctx, agent, listing)
	return &listingAnswer{body}, err
}

// stepComment is what a publisher says with a step; nothing where there is no
// body.
func (a *app) stepComment(ctx context.Context, agent product.Agent, said *stepRequest) ([]marketplace.Comment, error) {
	if said == nil {
		return nil, nil
	}
	return a.remarks(ctx, agent.ID, said.Comment, "")
}

func (a *app) deprecateListing(ctx context.Context, in *deprecateInput) (*listingAnswer, error) {
	notice := ""
	if in.Body != nil {
		notice = in.Body.Notice
	}
	return a.stepListing(ctx, &stepInput{Publisher: in.Publisher, Name: in.Name}, "listing.deprecate",
		func(l *marketplace.Listing) error { return l.Deprecate(notice) })
}

// submitListing runs the checks outside of the transaction, for they ask a
// registry. A listing that was edited meanwhile was not checked.
func (a *app) submitListing(ctx context.Context, in *stepInput) (*listingAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	comments, err := a.stepComment(ctx, agent, in.Body)
	if err != nil {
		return nil, err
	}
	checked, err := a.Marketplace.Listing(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	now, review := a.Now(), a.Policy.ReviewListings
	probe := checked
	if err := probe.Submit(nil, review, now); err != nil { // nobody is asked for nothing
		return nil, err
	}
	version, err := a.offeredVersion(ctx, agent)
	if err != nil {
		return nil, err
	}
	checks, err := marketplace.CheckSubmission(ctx, checked, version, a.Images)
	if err != nil {
		return nil, err
	}
	listing, err := a.changeListing(ctx, agent.ID, "listing.submit", comments, func(l *marketplace.Listing) error {
		if !l.UpdatedAt.Equal(checked.UpdatedAt) {
			return fault.New(fault.Conflict, "listing_state", "the listing was edited while it was checked; submit it again")
		}
		return l.Submit(checks, review, now)
	})
	if err != nil {
		return nil, err
	}
	return &listingAnswer{a.listingWhole(listing, version).inside(listing)}, nil
}
