package api

import (
	"encoding/base64"

	"agentmarket/fault"
	"agentmarket/ids"
)

// page is a list answer.
type page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"Pass it as cursor for the next page; null on the last one."`
}

// encodeCursor makes the cursor of a page that ends with an identifier. What is
// in it is nobody's business but ours.
func encodeCursor[T ~string](last T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last))
}

// decodeCursor reads a cursor; the empty one is the first page. A text that is
// no cursor of this list is fault.Invalid.
func decodeCursor[T ~string](prefix, cursor string) (T, error) {
	if cursor == "" {
		return "", nil
	}
	id, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || !ids.Valid(prefix, string(id)) {
		return "", errCursor()
	}
	return T(id), nil
}

func errCursor() error {
	return fault.New(fault.Invalid, "cursor_invalid", "the cursor is not one of this list").
		WithFields(fault.Field{Pointer: "cursor", Message: "is not a next_cursor of this list"})
}

// pageOf makes a page of what was found. Callers ask the store for one more than
// the limit: that one says that there is a next page.
func pageOf[D, B any, I ~string](found []D, limit int, id func(D) I, body func(D) B) page[B] {
	var next *string
	if len(found) > limit {
		found = found[:limit]
		next = new(encodeCursor(id(found[limit-1])))
	}
	items := make([]B, len(found))
	for i, d := range found {
		items[i] = body(d)
	}
	return page[B]{Items: items, NextCursor: next}
}
