// Package registry asks container registries whether an image can be had, by the
// OCI distribution API:
//
//	Resolve ──► declared preloaded? ─── yes ──► it is there
//	                  │ no
//	                  ▼
//	    HEAD /v2/NAME/manifests/DIGEST ──► 200, or not
//	                  │ 401              ▲
//	                  ▼                  │ once more, with the token
//	           GET the token's realm ────┘
//
// It asks as anybody could, with no credential of its own: an image that is not
// public is declared preloaded, or refused. What is asked for is chosen by
// publishers, so the client speaks only to public addresses, and only by HTTPS.
package registry
