"""What goes over the broker, and how."""

from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["amqps"] = "sms_pipeline.broker.tls:CheckedTransport"
