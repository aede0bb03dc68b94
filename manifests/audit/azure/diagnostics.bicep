// The audit log of an AKS cluster: to an event hub, which vector/from-aks.yaml reads, and to a storage account whose container
// of audit logs keeps what is in it. kube-audit, not kube-audit-admin: that one leaves out what is read, an exec among it.
param clusterName string
param eventHubNamespace string
param storageAccount string
param location string = resourceGroup().location
param days int = 365

resource cluster 'Microsoft.ContainerService/managedClusters@2024-09-01' existing = {
  name: clusterName
}

resource hubs 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: eventHubNamespace
  location: location
  sku: {name: 'Standard', tier: 'Standard', capacity: 1}
  properties: {minimumTlsVersion: '1.2', isAutoInflateEnabled: true, maximumThroughputUnits: 10}
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: hubs
  name: 'kube-audit'
  properties: {partitionCount: 4, messageRetentionInDays: 7}
}

resource sender 'Microsoft.EventHub/namespaces/authorizationRules@2024-01-01' = {
  parent: hubs
  name: 'diagnostics'
  properties: {rights: ['Listen', 'Manage', 'Send']}
}

resource reader 'Microsoft.EventHub/namespaces/eventhubs/authorizationRules@2024-01-01' = {
  parent: hub
  name: 'firebreak'
  properties: {rights: ['Listen']}
}

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageAccount
  location: location
  kind: 'StorageV2'
  sku: {name: 'Standard_ZRS'}
  properties: {
    minimumTlsVersion: 'TLS1_2'
    allowBlobPublicAccess: false
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
}

// Diagnostic settings append to blobs in this container. Unlocked, as it is made here, the policy can still be shortened: lock
// it when you have seen it work, with `az storage container immutability-policy lock`.
resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'insights-logs-kube-audit'
}

resource kept 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2023-05-01' = {
  parent: container
  name: 'default'
  properties: {immutabilityPeriodSinceCreationInDays: days, allowProtectedAppendWrites: true}
}

resource setting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'kube-audit'
  scope: cluster
  properties: {
    eventHubAuthorizationRuleId: sender.id
    eventHubName: hub.name
    storageAccountId: account.id
    logs: [{category: 'kube-audit', enabled: true}]
  }
  dependsOn: [kept]
}
