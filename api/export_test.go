package api

import (
	"net/http"

	"agentmarket/marketplace"
)

// HandlerWithActions is Handler, with the action of each operation that needs
// one.
func (s *Server) HandlerWithActions() (http.Handler, map[string]marketplace.Action) {
	a, handler := s.app()
	return handler, a.actions
}
