package store

import (
	"context"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// selectPricesOf finds the price in effect of each agent by the index of prices.
const selectPricesOf = `
SELECT p.id, p.agent_id, p.model, p.currency, p.terms, p.effective_from, p.created_by, p.created_at
FROM agents AS a JOIN prices AS p ON p.id = (
    SELECT id FROM prices WHERE agent_id = a.id AND effective_from <= @at ORDER BY effective_from DESC, id DESC LIMIT 1)
WHERE a.id IN @agents`

// PricesOf implements marketplace.PriceStore.
func (s *Marketplace) PricesOf(ctx context.Context, agents []ids.Agent, when time.Time) (map[ids.Agent]marketplace.Price, error) {
	prices := make(map[ids.Agent]marketplace.Price, len(agents))
	if len(agents) == 0 {
		return prices, nil
	}
	var rows []priceRow
	err := s.db.read.WithContext(ctx).Raw(selectPricesOf, map[string]any{"agents": agents, "at": at(when)}).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list prices in effect")
	}
	list, err := pricesFromRows(rows)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		prices[p.AgentID] = p
	}
	return prices, nil
}
