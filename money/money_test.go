package money_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/money"
)

func usd(micros int64) money.Amount { return money.Of(micros, "USD") }

func TestString(t *testing.T) {
	require.Equal(t, "1.500000 USD", usd(1_500_000).String())
	require.Equal(t, "-0.000001 USD", usd(-1).String())
	require.Equal(t, "-9223372036854.775808 USD", usd(math.MinInt64).String())
	require.Equal(t, "0.000000", money.Amount{}.String())
}

func TestAdd(t *testing.T) {
	sum, err := money.Add(usd(2), usd(-5))
	require.NoError(t, err)
	require.Equal(t, usd(-3), sum)
	sum, err = money.Add(money.Amount{}, usd(4))
	require.NoError(t, err)
	require.Equal(t, usd(4), sum)
	for _, pair := range [][2]money.Amount{
		{usd(math.MaxInt64), usd(1)}, {usd(math.MinInt64), usd(-1)}, {usd(1), money.Of(1, "EUR")},
	} {
		_, err = money.Add(pair[0], pair[1])
		require.True(t, fault.Is(err, fault.Internal), pair)
	}
}

func TestTimesIsBounded(t *testing.T) {
	require.Equal(t, usd(6), usd(2).Times(3))
	require.Equal(t, usd(0), usd(2).Times(0))
	require.Equal(t, usd(money.MaxMicros), usd(math.MaxInt64).Times(math.MaxInt64))
	require.Equal(t, usd(money.MaxMicros), usd(2).Times(math.MaxInt64/2))
}

func TestShareRoundsDown(t *testing.T) {
	require.Equal(t, usd(200_000), usd(1_000_000).Share(2000))
	require.Equal(t, usd(0), usd(4).Share(2000))
	require.Equal(t, usd(money.MaxMicros), usd(money.MaxMicros).Share(10_000))
}

func TestNegativePricesAreNothing(t *testing.T) {
	require.Equal(t, usd(0), usd(-2).Times(3))
	require.Equal(t, usd(0), usd(2).Times(-3))
}

// Nothing of one currency takes on the other: it must not give its name to money
// of another one.
func TestNothingHasNoCurrency(t *testing.T) {
	for _, nothing := range []money.Amount{{}, usd(0), money.Of(0, "EUR")} {
		for _, pair := range [][2]money.Amount{{nothing, usd(4)}, {usd(4), nothing}} {
			sum, err := money.Add(pair[0], pair[1])
			require.NoError(t, err)
			require.Equal(t, usd(4), sum)
		}
	}
}

func TestValidCurrency(t *testing.T) {
	for _, good := range []string{"USD", "EUR", "XTS"} {
		require.True(t, money.ValidCurrency(good), good)
	}
	for _, bad := range []string{"", "US", "USDT", "usd", "U$D", "USD\n", " USD", "ÄÖÜ"} {
		require.False(t, money.ValidCurrency(bad), "%q", bad)
	}
}

func TestMin(t *testing.T) {
	require.Equal(t, usd(1), money.Min(usd(1), usd(2)))
	require.Equal(t, usd(-2), money.Min(usd(1), usd(-2)))
}

func TestNegativeAndZero(t *testing.T) {
	require.Equal(t, usd(-5), usd(5).Negative())
	require.True(t, usd(0).IsZero())
	require.True(t, money.Amount{}.IsZero())
	require.False(t, usd(-1).IsZero())
}

// The fuzz tests compare with exact arithmetic.

func FuzzAdd(f *testing.F) {
	f.Add(int64(1), int64(-2))
	f.Add(int64(math.MaxInt64), int64(1))
	f.Add(int64(math.MinInt64), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, a, b int64) {
		want := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		got, err := money.Add(usd(a), usd(b))
		if (err == nil) != want.IsInt64() || err == nil && got != usd(want.Int64()) {
			t.Fatalf("%d + %d is %v, %v and not %s", a, b, got, err, want)
		}
	})
}

func FuzzTimes(f *testing.F) {
	f.Add(int64(3), int64(4))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(int64(math.MinInt64), int64(-1))
	f.Fuzz(func(t *testing.T, micros, n int64) {
		want := new(big.Int).Mul(big.NewInt(max(0, micros)), big.NewInt(max(0, n)))
		if limit := big.NewInt(money.MaxMicros); want.Cmp(limit) > 0 {
			want = limit
		}
		if got := usd(micros).Times(n); got != usd(want.Int64()) {
			t.Fatalf("%d times %d is %s and not %s", n, micros, got, want)
		}
	})
}

func FuzzShare(f *testing.F) {
	f.Add(int64(1), int64(2000))
	f.Add(int64(math.MaxInt64), int64(10_000))
	f.Add(int64(math.MinInt64), int64(9999))
	f.Fuzz(func(t *testing.T, micros, points int64) {
		points = (points & math.MaxInt64) % 10_001
		want := new(big.Int).Mul(big.NewInt(micros), big.NewInt(points))
		want.Quo(want, big.NewInt(10_000))
		if got := usd(micros).Share(points); got != usd(want.Int64()) {
			t.Fatalf("%d of %d is %s and not %s", points, micros, got, want)
		}
	})
}

func FuzzString(f *testing.F) {
	f.Add(int64(math.MinInt64))
	f.Add(int64(-999_999))
	f.Fuzz(func(t *testing.T, micros int64) {
		text := usd(micros).String()
		number, found := strings.CutSuffix(text, " USD")
		back, ok := new(big.Rat).SetString(number)
		if !found || !ok || back.Cmp(big.NewRat(micros, money.Unit)) != 0 {
			t.Fatalf("%d micros are %q", micros, text)
		}
	})
}
