package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// fillListings uses every method of listings, catalog and reviews, in an
// organization that publishes n agents and reviews the one of a stranger.
func fillListings(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	var last marketplace.Listing
	for i := range n {
		agent, _ := publish(t, s, org, fmt.Sprint("listed-", i), "1.0.0", start)
		l := createListing(t, s, aListing(t, org, agent, fullContent()))
		comment, err := marketplace.NewComment(agent.ID, "usr_operator", "fine", false, start)
		require.NoError(t, err)
		_, err = s.Marketplace.UpdateListing(ctx, actor, agent.ID, "listing.submit", []marketplace.Comment{comment}, submit(start))
		require.NoError(t, err)
		require.NoError(t, s.Marketplace.SetPrice(ctx, actor, aPrice(agent, 5, start), allow))
		last = l
	}
	for _, internal := range []bool{true, false} {
		_, err := s.Marketplace.Comments(ctx, last.AgentID, internal, "", 10)
		require.NoError(t, err)
	}
	page, err := s.Marketplace.ListingsOf(ctx, org.ID, "", 10)
	require.NoError(t, err)
	_, err = s.Marketplace.ListingsOf(ctx, org.ID, page[0].AgentID, 10)
	require.NoError(t, err)
	page, err = s.Marketplace.Submissions(ctx, "", 10)
	require.NoError(t, err)
	_, err = s.Marketplace.Submissions(ctx, page[0].AgentID, 10)
	require.NoError(t, err)
	changeListing(t, s, last.AgentID, func(l *marketplace.Listing) error { return l.Approve(start) })
	// In a catalog of a few listings PostgreSQL would not use the index of words.
	for i := range 10 * n {
		agent, err := s.Names.EnsureAgent(ctx, actor, product.Agent{
			ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: fmt.Sprint("stock-", i), CreatedAt: start, UpdatedAt: start,
		})
		require.NoError(t, err)
		l := aListing(t, org, agent, marketplace.ListingContent{
			Title: fmt.Sprint("Stock ", i), Summary: "Reads invoices", Categories: []string{"finance"}, Tags: []string{"ocr"},
		})
		require.NoError(t, l.Submit(nil, false, start))
		createListing(t, s, l)
	}
	fillReviews(t, s, org)
	fillCatalog(t, s, org)
}

func fillReviews(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	m := market{Stores: s, publisher: anOrganization(t, s, "stranger-to-"+org.Name), buyer: org}
	m.agent, m.version = publish(t, s, m.publisher, "reviewed", "1.0.0", start)
	m.list(t, marketplace.VisibilityPublic)
	ran(t, s, org, m.agent, m.version)
	for _, rating := range []int{4, 5} {
		putReview(t, s, aReview(t, org, m.version, rating))
	}
	reviews, err := s.Marketplace.Reviews(ctx, m.agent.ID, "", 10)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.DeleteReview(ctx, actor, org.ID, reviews[0].ID, start))
	putReview(t, s, aReview(t, org, m.version, 3))
	_, err = s.Marketplace.AverageRun(ctx, m.agent.ID)
	require.NoError(t, err)
	_, err = s.Marketplace.FoldUsage(ctx, 10)
	require.NoError(t, err)
	announced := aPrice(m.agent, 5, after(time.Hour))
	require.NoError(t, s.Marketplace.SetPrice(ctx, actor, announced, allow))
	folded, err := s.Marketplace.FoldPrices(ctx, after(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, 1, folded)
}

func fillCatalog(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	for _, sort := range sorts {
		for _, q := range []marketplace.CatalogQuery{{}, {Text: "reads invoices"}, {Category: "finance"}, {Text: "reads", Tag: "ocr"}, {Text: "invoyce"}} {
			q.Sort, q.Limit = sort, 1
			page, err := s.Marketplace.Search(t.Context(), marketplace.Viewer{OrgID: org.ID, UserID: "usr_x"}, q, start)
			require.NoError(t, err)
			require.NotEmpty(t, page.Listings)
		}
	}
}
