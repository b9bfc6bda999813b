"""Which scopes a caller needs for which operation, on both transports, when `auth` is on."""

from collections.abc import Mapping

from twinport import Needs, needs

ACCESS: Mapping[str, Needs] = {
    "CreateOrder": needs("orders:write"),
    "GetOrder": needs("orders:read"),
    "ListOrders": needs("orders:read"),
    "DeleteOrder": needs("orders:write"),
    "WatchOrders": needs("orders:read"),
    "ImportOrders": needs("orders:write"),
    "QuoteOrders": needs("orders:read"),
}
