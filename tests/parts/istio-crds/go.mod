// Carries Istio's CustomResourceDefinitions, which the istio.io/api module ships as a YAML file.
module tradewind.test/parts/istio-crds

go 1.25.0

require istio.io/api v1.31.1
