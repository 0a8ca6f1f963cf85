package storetest

import (
	"strings"

	"agentmarket/marketplace"
)

var sorts = []marketplace.Sort{
	marketplace.SortRelevance, marketplace.SortNewest, marketplace.SortMostUsed, marketplace.SortBestRated,
}

// shelfQueries are queries of reader with everything that they find, in order.
var shelfQueries = []struct {
	query   marketplace.CatalogQuery
	want    []string
	similar bool
}{
	// Name and title come first, then summary and labels, then the readme; the
	// newest agent leads where nothing else does.
	{query: marketplace.CatalogQuery{Text: "invoice"}, want: []string{"in-private", "invoices", "invoice-reader", "receipt-scanner", "ledger-check"}},
	{query: marketplace.CatalogQuery{Text: "inv"}, want: []string{"in-private", "invoices", "invoice-reader", "receipt-scanner", "ledger-check"}},
	{query: marketplace.CatalogQuery{Text: "invoice finance"}, want: []string{"receipt-scanner", "invoice-reader", "ledger-check"}},
	{query: marketplace.CatalogQuery{Text: "reads invoice"}, want: []string{"invoice-reader"}},
	{query: marketplace.CatalogQuery{Text: "ACME invoice"}, want: []string{"in-private", "invoice-reader", "receipt-scanner"}},
	{query: marketplace.CatalogQuery{Text: "CAFÉ"}, want: []string{"cafe-finder"}},
	{query: marketplace.CatalogQuery{Text: "cafe\u0301 zurich"}, want: []string{"cafe-finder"}},
	{query: marketplace.CatalogQuery{Text: "Über"}, want: []string{"routes", "cafe-finder"}},
	{query: marketplace.CatalogQuery{Text: "strassen"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "straße"}, want: []string{"routes"}},
	{query: marketplace.CatalogQuery{Text: "resume"}, want: []string{"routes"}},
	{query: marketplace.CatalogQuery{Text: "東京"}, want: []string{"tokyo"}},
	{query: marketplace.CatalogQuery{Text: "日本"}, want: []string{"tokyo"}},
	{query: marketplace.CatalogQuery{Text: "京"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "北京"}, want: []string{"beijing"}},
	{query: marketplace.CatalogQuery{Text: "서울"}, want: []string{"seoul"}},
	{query: marketplace.CatalogQuery{Text: "k8s"}, want: []string{"k8s-doctor"}},
	{query: marketplace.CatalogQuery{Text: "8s"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "1.31"}, want: []string{"k8s-doctor"}},
	{query: marketplace.CatalogQuery{Text: "v3.5"}, want: []string{"gpt-4o-mini-bench"}},
	{query: marketplace.CatalogQuery{Text: "gpt-4o"}, want: []string{"gpt-4o-mini-bench"}},
	{query: marketplace.CatalogQuery{Text: "C++"}, want: []string{"c-plus-plus", "cafe-finder", "ledger-check", "osage", "istanbul", "o-reilly", "k8s-doctor"}},
	{query: marketplace.CatalogQuery{Text: "o'reilly"}, want: []string{"o-reilly"}},
	{query: marketplace.CatalogQuery{Text: "\"quoted\" 100%"}, want: []string{"o-reilly"}},
	{query: marketplace.CatalogQuery{Text: "and or not near"}, want: []string{"and-or-not"}},
	{query: marketplace.CatalogQuery{Text: "NEAR"}, want: []string{"and-or-not"}},
	{query: marketplace.CatalogQuery{Text: "office files"}, want: []string{"ligature"}},
	{query: marketplace.CatalogQuery{Text: "123"}, want: []string{"ligature"}},
	{query: marketplace.CatalogQuery{Text: "счет"}, want: []string{"schet"}},
	{query: marketplace.CatalogQuery{Text: "ελληνικα"}, want: []string{"ellinika"}},
	{query: marketplace.CatalogQuery{Text: "İstanbul"}, want: []string{"istanbul"}},
	{query: marketplace.CatalogQuery{Text: "istanbul"}, want: []string{"istanbul"}},
	{query: marketplace.CatalogQuery{Text: "हिन्दी"}, want: []string{"hindi"}},
	{query: marketplace.CatalogQuery{Text: "مرحبا"}, want: []string{"arabic"}},
	{query: marketplace.CatalogQuery{Text: "🚀 launcher"}, want: []string{"launcher"}},
	{query: marketplace.CatalogQuery{Text: "𐓐"}, want: []string{"osage"}},
	{query: marketplace.CatalogQuery{Text: "alpha"}, want: []string{"osage"}},
	{query: marketplace.CatalogQuery{Text: "the"}, want: []string{"the-the", "invoices", "ledger-check"}},
	{query: marketplace.CatalogQuery{Text: "secret"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "suspended"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "draft"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "worker 1 finance"}, want: []string{"worker-21", "worker-18", "worker-15", "worker-12", "worker-09"}},
	{query: marketplace.CatalogQuery{Text: "xyzzy"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "invoce"}, want: []string{"in-private", "invoice-reader", "invoices"}, similar: true},
	{query: marketplace.CatalogQuery{Text: "recipt scaner"}, want: []string{"receipt-scanner"}, similar: true},
	{query: marketplace.CatalogQuery{Text: "café findr"}, want: []string{"cafe-finder"}, similar: true},
	{query: marketplace.CatalogQuery{Text: "ledgr invoice"}, want: []string{"ledger-check"}, similar: true},
	{query: marketplace.CatalogQuery{Text: "agnet inside"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "kubernetis"}, want: []string{}},
	{query: marketplace.CatalogQuery{Text: "invoice", Sort: marketplace.SortNewest}, want: []string{"receipt-scanner", "in-private", "ledger-check", "invoice-reader", "invoices"}},
	{query: marketplace.CatalogQuery{Text: "invoice", Sort: marketplace.SortBestRated}, want: []string{"invoice-reader", "in-private", "invoices", "receipt-scanner", "ledger-check"}},
	{query: marketplace.CatalogQuery{Text: "invoice", Sort: marketplace.SortMostUsed, Publisher: "acme"}, want: []string{"in-private", "receipt-scanner", "invoice-reader"}},
	{query: marketplace.CatalogQuery{Category: "finance", Sort: marketplace.SortNewest}, want: []string{"receipt-scanner", "ledger-check", "schet", "invoice-reader"}},
	{query: marketplace.CatalogQuery{Category: "finance", Tag: "ocr"}, want: []string{"receipt-scanner", "invoice-reader"}},
	{query: marketplace.CatalogQuery{Tag: "row-3", Text: "report"}, want: []string{"worker-19", "worker-07"}},
	{query: marketplace.CatalogQuery{Model: marketplace.ModelPerRun}, want: []string{"invoice-reader"}},
	{query: marketplace.CatalogQuery{Model: marketplace.ModelSubscription, Text: "k"}, want: []string{"k8s-doctor"}},
	{query: marketplace.CatalogQuery{Text: "invoce", Publisher: "globex"}, want: []string{"invoices"}, similar: true},
	{query: marketplace.CatalogQuery{Text: "invoce", Category: "travel"}, want: []string{}},
	{query: marketplace.CatalogQuery{Category: "travel", Sort: marketplace.SortBestRated}, want: []string{"routes", "seoul", "beijing", "tokyo", "cafe-finder"}},
}

// manyQueries combines texts, filters and sorts.
func (c *shelf) manyQueries() (list []marketplace.CatalogQuery) {
	texts := []string{"", "invoice", "inv", "i", "a", "w", "the", "THE  The", "reads invoice", "invoice finance", "acme", "acme invoice",
		"café", "CAFE", "cafe\u0301", "uber", "ÜBER routen", "strassen", "straßen", "resume", "東京", "東", "京", "北京", "서울", "ㅅ", "k8s", "8s", "1.31", "31",
		"4o", "gpt-4o", "c", "c++", "c#", "o'reilly", "quoted", "and", "or not", "near", "rowid", "office", "fi", "full", "1", "viii", "счет", "счёт", "фактура",
		"ελλην", "ΕΛΛΗΝΙΚΆ", "istanbul", "ilık", "ı", "हिन्दी", "अनुवाद", "مرحبا", "🚀", "launcher 🚀", "\U000104d0", "alpha", "\U0001e900",
		strings.Repeat("a", 64), strings.Repeat("a", 80), strings.Repeat("a", 63), "worker 1", "worker finance", "row 2", "agents row", "!!!", "inside", "in"}
	for _, text := range texts {
		for _, sort := range sorts {
			list = append(list, marketplace.CatalogQuery{Text: text, Sort: sort})
		}
		list = append(list, marketplace.CatalogQuery{Text: text, Category: "office"}, marketplace.CatalogQuery{Text: text, Publisher: "globex", Limit: 2})
	}
	for _, q := range []marketplace.CatalogQuery{
		{Category: "finance"}, {Category: "finance", Tag: "ocr"}, {Tag: "row-3"}, {Tag: "row"}, {Tag: "4o"}, {Publisher: "acme"}, {Publisher: "ac"},
		{Model: marketplace.ModelPerRun}, {Model: marketplace.ModelSubscription, Category: "operations"}, {Model: marketplace.ModelFree, Publisher: "globex"},
		{Category: "finance", Publisher: "globex", Tag: "row-1", Model: marketplace.ModelFree}, {Category: "FINANCE"}, {Category: "none"},
	} {
		for _, sort := range sorts {
			q.Sort = sort
			list = append(list, q)
		}
	}
	return list
}

// hostile are texts that mean something to a database.
var hostile = []string{
	"", " ", "'", "''", `"`, `""`, `\`, `'\''`, "*", "a*", ":*", "'a':*", "a:*", "a & b", "a | !b", "!a", "!", "(", ")", "((a)", "<->", "a <2> b", "&", "&&", "%", "_", "%%'",
	"NEAR(a b, 2)", "a NEAR/2 b", "a AND", "NOT a", "OR", "a NOT", "^a", "+a", "-a", "{words_a}: a", "words_a:a", "{facets}:\"c:office\"", "rank", "a + b",
	"; DROP TABLE listings; --", "/*", "--", "$1", "?", "@match", "@", "%s", "%[1]s", "#", "3:a", "1:invoice", "c:office", "\x00", "a\x00b", "\xff\xfe", "a\xff", "\u0301", "\u200b",
	"\ufeff", "\u202e", "\ud7ff", "\U0010ffff", "ﷺﷺﷺ", strings.Repeat("㌀", 500), strings.Repeat("x", 10000), strings.Repeat("word ", 5000), strings.Repeat("(", 3000),
	strings.Repeat("é", 40), strings.Repeat("\u0301", 1000), strings.Repeat("a b ", 20), "İ", "ß", "ŉ", "½", "²", "٣", "Ⅷ",
}
