"""The `sms-pipeline` command."""
