// A plugin for the proxies of the mesh lab.
module tradewind.test/parts/routing-plugin

go 1.26.0
