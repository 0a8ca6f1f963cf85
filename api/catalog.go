package api

import (
	"context"
	"net/http"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type searchInput struct {
	Query     string `query:"q" maxLength:"200" doc:"Words, each the beginning of a word of the listing." example:"invoice"`
	Category  string `query:"category" maxLength:"40" example:"finance"`
	Tag       string `query:"tag" maxLength:"40" example:"pdf"`
	Publisher string `query:"publisher" maxLength:"40" example:"acme"`
	Model     string `query:"model" enum:"free,per_run,per_second,per_event,subscription" doc:"How it is paid for."`
	Sort      string `query:"sort" enum:"relevance,newest,most_used,best_rated" default:"relevance" doc:"relevance without words is most_used."`
	Format    string `query:"format" enum:"full,agent" default:"full" doc:"agent: few, short fields and the schemas, for programs that choose and call agents."`
	Limit     int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Cursor    string `query:"cursor" maxLength:"200" doc:"Of the same words, filters and order."`
}

type searchAnswer struct{ Body catalogBody }

func (a *app) routeCatalog() {
	handle(a, route{
		id: "search-catalog", method: http.MethodGet, path: "/v1/catalog", tag: tagCatalog, action: marketplace.ActAgentsRead,
		summary: "Search the catalog",
		description: "Finds what is published and what your organization may see: everything public, its own, and what was granted to it. " +
			"Pages are stable: what is published meanwhile moves nothing from one page to another. Where nothing matches the words, " +
			"one page of what is spelt like them is answered, with similar set.",
		problems: []string{"cursor_invalid"},
	}, a.searchCatalog)
	a.routeReviews()
	a.routeInstallation()
}

func (a *app) searchCatalog(ctx context.Context, in *searchInput) (*searchAnswer, error) {
	query := marketplace.CatalogQuery{
		Text: in.Query, Category: in.Category, Tag: in.Tag, Publisher: in.Publisher,
		Model: marketplace.Model(in.Model), Sort: marketplace.Sort(in.Sort), Limit: in.Limit,
	}
	var err error
	if query.After, err = decodePosition(query, in.Cursor); err != nil {
		return nil, err
	}
	now := a.Now()
	found, err := a.Marketplace.Search(ctx, requestOf(ctx).caller.Viewer(), query, now)
	if err != nil {
		return nil, err
	}
	agents := make([]ids.Agent, len(found.Listings))
	for i, l := range found.Listings {
		agents[i] = l.AgentID
	}
	prices, err := a.Marketplace.PricesOf(ctx, agents, now)
	if err != nil {
		return nil, err
	}
	body := catalogBody{Items: make([]catalogItem, len(found.Listings)), Similar: found.Similar}
	if in.Format == "agent" {
		err = a.shortItems(ctx, found.Listings, prices, body.Items)
	} else {
		a.fullItems(found.Listings, prices, body.Items)
	}
	if err != nil {
		return nil, err
	}
	if found.Next.Agent != "" {
		body.NextCursor = new(encodePosition(query, found.Next))
	}
	return &searchAnswer{body}, nil
}

func (a *app) fullItems(listings []marketplace.Listing, prices map[ids.Agent]marketplace.Price, items []catalogItem) {
	for i, l := range listings {
		item := a.listingSummary(l)
		item.Model = string(marketplace.ModelFree)
		if p, priced := prices[l.AgentID]; priced {
			item.Price, item.Model = new(priceBodyOf(p)), string(p.Model)
		}
		items[i] = catalogItem{full: &item}
	}
}

// shortItems reads the versions that buyers would get, all at once.
func (a *app) shortItems(ctx context.Context, listings []marketplace.Listing, prices map[ids.Agent]marketplace.Price, items []catalogItem) error {
	stable := make([]product.ChannelName, len(listings))
	for i, l := range listings {
		stable[i] = product.ChannelName{Agent: l.AgentID, Name: product.ChannelStable}
	}
	versions, err := a.Channels.Heads(ctx, stable)
	if err != nil {
		return err
	}
	for i, l := range listings {
		path := agentPath(l.Publisher, l.Name)
		item := &catalogAgent{
			Name: l.FullName(), Summary: l.Content.Summary, Model: string(marketplace.ModelFree), Price: "free",
			URLs: catalogAgentURLs{Estimate: path + "/estimate", Run: path + "/runs"},
		}
		if p, priced := prices[l.AgentID]; priced {
			item.Model, item.Price = string(p.Model), priceLine(p)
		}
		if v, ready := versions[stable[i]]; ready {
			item.Version, item.InputSchema, item.OutputSchema = v.Number, v.Manifest.InputSchema, v.Manifest.OutputSchema
		}
		items[i] = catalogItem{short: item}
	}
	return nil
}
