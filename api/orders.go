package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// orderBody is a purchase.
type orderBody struct {
	ID            string     `json:"id" example:"ord_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Agent         string     `json:"agent" example:"acme/greeter"`
	Kind          string     `json:"kind" doc:"usage, subscription or trial."`
	Status        string     `json:"status" doc:"active, canceled (a subscription that is not renewed), ended, refunded. The set may grow."`
	PriceID       string     `json:"price_id"`
	EntitlementID string     `json:"entitlement_id"`
	Amount        amountBody `json:"amount" doc:"Paid at once: the first month of a subscription."`
	Permissions   []string   `json:"permissions,omitempty" doc:"What the agent asks for, which the order consents to. In the answer to the order only."`
	CreatedBy     string     `json:"created_by"`
	CreatedAt     time.Time  `json:"created_at"`
	RenewsAt      *time.Time `json:"renews_at,omitempty"`
	CanceledAt    *time.Time `json:"canceled_at,omitempty"`
	URLs          selfURL    `json:"urls"`
}

func orderBodyOf(o marketplace.Order) orderBody {
	return orderBody{
		ID: string(o.ID), Agent: o.Agent, Kind: string(o.Kind), Status: string(o.Status), PriceID: string(o.PriceID),
		EntitlementID: string(o.EntitlementID), Amount: amountBodyOf(o.Amount), CreatedBy: o.CreatedBy,
		CreatedAt: o.CreatedAt.UTC(), RenewsAt: when(o.RenewsAt), CanceledAt: when(o.CanceledAt),
		URLs: selfURL{"/v1/orders/" + string(o.ID)},
	}
}

type (
	orderRequest struct {
		Agent   string `json:"agent" minLength:"3" maxLength:"81" pattern:"^[a-z0-9-]+/[a-z0-9-]+$" doc:"publisher/name." example:"acme/greeter"`
		Kind    string `json:"kind,omitempty" enum:"usage,subscription,trial" doc:"Default: subscription where the agent is sold by subscription, else usage."`
		PriceID string `json:"price_id,omitempty" maxLength:"30" doc:"The price that you have seen: another one in effect refuses the order."`
	}
	placeOrderInput struct {
		IdempotencyKey string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters: the same key and the same request order once."`
		Body           orderRequest
	}
	orderAnswer struct {
		Status   int
		Location string `header:"Location" doc:"The order."`
		Replayed string `header:"Idempotency-Replayed" doc:"true when the order was there before."`
		Body     orderBody
	}
	oneOrder   struct{ Body orderBody }
	orderInput struct {
		ID string `path:"id" example:"ord_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	listInput struct {
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor string `query:"cursor" maxLength:"200"`
	}
	ordersAnswer struct{ Body page[orderBody] }
)

func (a *app) routeOrders() {
	handle(a, route{
		id: "place-order", method: http.MethodPost, path: "/v1/orders", tag: tagBuying, action: marketplace.ActOrdersCreate,
		status: http.StatusCreated, alsoStatus: http.StatusOK, summary: "Order an agent",
		description: "Accepts the agent's price and what its version asks for now, and gives your organization the right to run it. " +
			"usage pays each run from the wallet, subscription pays a month at once, trial is free. " +
			"200 for the order that the same request made before.",
		problems: []string{"agent_not_found", "order_own_agent", "order_not_offered", "order_not_priced", "order_kind", "order_exists",
			"order_price_changed", "order_trial_used", "insufficient_funds", "spend_limit_reached", "idempotency_key_invalid", "idempotency_key_reused"},
	}, a.placeOrder)
	handle(a, route{
		id: "list-orders", method: http.MethodGet, path: "/v1/orders", tag: tagBuying, action: marketplace.ActBillingRead,
		summary: "List the orders of your organization", problems: []string{"cursor_invalid"},
	}, a.listOrders)
	handle(a, route{
		id: "get-order", method: http.MethodGet, path: "/v1/orders/{id}", tag: tagBuying, action: marketplace.ActBillingRead,
		summary: "Get an order", problems: []string{"order_not_found"},
	}, a.getOrder)
	handle(a, route{
		id: "cancel-order", method: http.MethodPost, path: "/v1/orders/{id}/cancel", tag: tagBuying, action: marketplace.ActOrdersCreate,
		optionalBody: true, summary: "Cancel an order",
		description: "A subscription is not renewed and holds until the end of what is paid; the right of another order ends at once. " +
			"A second call changes nothing.",
		problems: []string{"order_not_found"},
	}, a.cancelOrder)
}

func (a *app) placeOrder(ctx context.Context, in *placeOrderInput) (*orderAnswer, error) {
	key, err := idempotencyKey(requestOf(ctx))
	if err != nil {
		return nil, err
	}
	publisher, name, _ := strings.Cut(in.Body.Agent, "/")
	agent, claim, err := a.claim(ctx, publisher, name)
	if err != nil {
		return nil, err
	}
	version, err := a.orderedVersion(ctx, agent, claim)
	if err != nil {
		return nil, err
	}
	now, by := a.Now(), actor(ctx)
	kind := marketplace.OrderKind(in.Body.Kind)
	buy := func(c marketplace.Claim) (marketplace.Purchase, error) {
		if in.Body.PriceID != "" && (c.Price == nil || string(c.Price.ID) != in.Body.PriceID) {
			return marketplace.Purchase{}, fault.New(fault.Conflict, "order_price_changed", "another price is in effect by now")
		}
		return c.Buy(agent.FullName(), orDefaultKind(kind, c), by.ID, now)
	}
	pay := func(p marketplace.Purchase) (*marketplace.Transaction, error) {
		if p.Order.Amount.IsZero() {
			return nil, nil //nolint:nilnil // nothing to pay is not an error
		}
		t, err := marketplace.SubscriptionMoney(p.Order, claim.Publisher, p.Order.Amount, a.Policy.FeeBasisPoints, now)
		return &t, err
	}
	order, created, err := a.Marketplace.PlaceOrder(ctx, by, a.claimQuery(ctx, agent), key, version, buy, pay)
	if err != nil {
		return nil, a.denied(ctx, agent, err)
	}
	answer := &orderAnswer{Status: http.StatusCreated, Body: orderBodyOf(order)}
	answer.Location = answer.Body.URLs.Self
	if version != nil {
		answer.Body.Permissions = marketplace.DescribePermissions(product.PermissionsOf(version.Manifest))
	}
	if !created {
		answer.Status, answer.Replayed = http.StatusOK, "true"
	}
	return answer, nil
}

func orDefaultKind(kind marketplace.OrderKind, c marketplace.Claim) marketplace.OrderKind {
	switch {
	case kind != "":
		return kind
	case c.Price != nil && c.Price.Model == marketplace.ModelSubscription:
		return marketplace.OrderSubscription
	default:
		return marketplace.OrderUsage
	}
}

// orderedVersion is the version whose permissions an order consents to: what the
// organization would run now. nil for a preview.
func (a *app) orderedVersion(ctx context.Context, agent product.Agent, claim marketplace.Claim) (*product.Version, error) {
	name := product.ChannelStable
	if i := claim.Installation; i != nil {
		if i.Pinned() {
			version, err := a.Agents.Version(ctx, i.VersionID)
			return &version, err
		}
		name = i.Channel
	}
	version, err := a.namedVersion(ctx, agent, name)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // an agent can be bought before it has a version
	}
	return &version, err
}

func (a *app) listOrders(ctx context.Context, in *listInput) (*ordersAnswer, error) {
	before, err := decodeCursor[ids.Order](ids.PrefixOrder, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Orders(ctx, requestOf(ctx).caller.OrgID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &ordersAnswer{pageOf(found, in.Limit, func(o marketplace.Order) ids.Order { return o.ID }, orderBodyOf)}, nil
}

func (a *app) getOrder(ctx context.Context, in *orderInput) (*oneOrder, error) {
	if err := known(ids.PrefixOrder, in.ID, "order"); err != nil {
		return nil, err
	}
	order, err := a.Marketplace.Order(ctx, requestOf(ctx).caller.OrgID, ids.Order(in.ID))
	if err != nil {
		return nil, err
	}
	return &oneOrder{orderBodyOf(order)}, nil
}

func (a *app) cancelOrder(ctx context.Context, in *orderInput) (*oneOrder, error) {
	if err := known(ids.PrefixOrder, in.ID, "order"); err != nil {
		return nil, err
	}
	order, err := a.Marketplace.CancelOrder(ctx, actor(ctx), requestOf(ctx).caller.OrgID, ids.Order(in.ID), a.Now())
	if err != nil {
		return nil, err
	}
	return &oneOrder{orderBodyOf(order)}, nil
}
