"""All contact with the object store: streaming, receipts, seal, custody, verification."""
